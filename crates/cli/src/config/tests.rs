//! A corpus of configurations, good and bad.

use super::*;

fn lookup(name: &str) -> Option<String> {
    (name == "DATA").then(|| "/srv/data".to_owned())
}

fn parse(text: &str) -> Config {
    Config::parse(text, Some(&lookup)).unwrap()
}

/// `line: message | hint` of what is wrong with a configuration.
fn fault(text: &str) -> String {
    let problem = Config::parse(text, Some(&lookup)).unwrap_err();
    let hint = problem.hint.map(|hint| format!(" | {hint}")).unwrap_or_default();
    format!("{}: {}{hint}", problem.line, problem.message)
}

#[test]
fn the_smallest_configuration_has_litestreams_defaults() {
    let config = parse("dbs:\n  - path: /a.db\n    replica:\n      url: file:///backup/a\n");
    let expected = Database::new("/a.db".into(), Url::File("/backup/a".into()));
    assert_eq!(config.databases, [expected]);
    assert_eq!(config.shutdown_sync_timeout, Duration::from_secs(30));
    assert_eq!(config.exec, None);
    assert_eq!(config.logging, Logging::default());
}

#[test]
fn every_key_that_we_read() {
    let config = parse(
        "exec: sh -c 'echo $$HOME ${NONE}'
shutdown-sync-timeout: 5s
sync-interval: 2s
logging: {level: WARN, type: json, stderr: no}
dbs:
  - path: ${DATA}/a.db   # ${UNSET} in a comment means nothing
    meta-path: /meta/a
    monitor-interval: 300ms
    checkpoint-interval: 1h30m
    busy-timeout: 0
    min-checkpoint-page-count: 50
    replica: {type: file, path: \"$DATA/backup\", sync-interval: 10s}
  - path: sqlite:///b.db
    replicas:
      - url: file:///backup/b
",
    );
    assert_eq!(config.exec.as_deref(), Some("sh -c 'echo $HOME '"));
    assert_eq!(config.shutdown_sync_timeout, Duration::from_secs(5));
    assert_eq!(config.logging.level, Some(Level::Warn));
    assert_eq!(config.logging.format, Format::Json);
    assert_eq!(config.logging.stderr, Some(false));
    let a = &config.databases[0];
    assert_eq!(a.path, Path::new("/srv/data/a.db"));
    assert_eq!(a.meta.as_deref(), Some(Path::new("/meta/a")));
    assert_eq!(a.replica, Url::File("/srv/data/backup".into()));
    assert_eq!(a.sync_interval, Duration::from_secs(10));
    assert_eq!(a.monitor_interval, Duration::from_millis(300));
    assert_eq!(a.checkpoint_interval, Duration::from_secs(5400));
    assert_eq!(a.busy_timeout, Duration::ZERO);
    assert_eq!(a.checkpoint_pages, 50);
    let b = &config.databases[1];
    assert_eq!(b.path, Path::new("/b.db"));
    assert_eq!(b.sync_interval, Duration::from_secs(2));
}

#[test]
fn without_expansion_a_dollar_sign_is_one() {
    let text = "dbs: [{path: /$A/$$b.db, replica: {path: '/${C'}}]";
    let config = Config::parse(text, None).unwrap();
    assert_eq!(config.databases[0].path, Path::new("/$A/$$b.db"));
    assert_eq!(config.databases[0].replica, Url::File("/${C".into()));
}

#[test]
fn unknown_keys_are_named_with_their_line() {
    assert_eq!(fault("dbss: []\n"), "1: unknown key dbss | did you mean \"dbs\"?");
    assert_eq!(
        fault("dbs:\n  - path: /a.db\n    replica:\n      sync_interval: 1s\n"),
        "4: unknown key dbs[0].replica.sync_interval | did you mean \"sync-interval\"?"
    );
    assert_eq!(
        fault("dbs:\n  - path: /a.db\n    zebra: 1\n"),
        "3: unknown key dbs[0].zebra | keys here: path, meta-path, replica, replicas, \
         monitor-interval, checkpoint-interval, busy-timeout, min-checkpoint-page-count"
    );
    let text = "dbs: [{path: /a, replica: {path: /b}}]\nlogging:\n  levle: info\n";
    assert!(fault(text).starts_with("3: unknown key logging.levle | did"));
}

#[test]
fn keys_of_litestream_that_we_lack_say_so() {
    for (text, start) in [
        ("addr: ':9090'\n", "1: addr is not supported yet"),
        ("dbs:\n- dir: /data\n", "2: dbs[0].dir is not supported yet"),
        ("dbs:\n- path: /a\n  replica:\n    bucket: b\n", "4: dbs[0].replica.bucket is not supp"),
        ("snapshot:\n  interval: 1h\n", "1: snapshot is not supported yet"),
        ("dbs:\n- path: /a\n  replica:\n    retention: 1h\n", "4: dbs[0].replica.retention is no"),
    ] {
        assert!(fault(text).starts_with(start), "{}", fault(text));
    }
}

#[test]
fn replicas_must_be_exactly_one_file() {
    let with = |replica: &str| fault(&format!("dbs:\n- path: /a.db\n{replica}"));
    assert!(with("").starts_with("2: dbs[0].replica is missing"));
    assert!(with("  replicas: []\n").starts_with("2: dbs[0].replica is missing"));
    let two = "  replicas:\n  - path: /b\n  - path: /c\n";
    assert!(with(two).starts_with("5: dbs[0].replicas: a database has one replica"));
    assert!(with("  replicas:\n  - path: /b\n  replica: {path: /c}\n").contains("cannot both"));
    assert!(with("  replica: {}\n").starts_with("3: dbs[0].replica.url is missing"));
    assert!(with("  replica: file:///b\n").starts_with("3: dbs[0].replica must be a mapping"));
    assert!(with("  replica: {type: s3}\n").contains("s3 is not supported yet"));
    assert!(with("  replica: {url: s3://b/c}\n").contains("s3 storage is not yet supported"));
    assert!(with("  replica: {url: /b}\n").contains("is not a URL"));
    assert!(with("  replica: {path: file:///b}\n").contains("use the key url"));
    assert!(with("  replica: {path: /b, url: file:///b}\n").contains("cannot both be set"));
}

#[test]
fn places_need_their_variables() {
    let text = "dbs:\n- path: $NONE/a.db\n  replica: {path: /b}\n";
    assert!(fault(text).starts_with("2: dbs[0].path uses $NONE, which is not set"));
    let text = "dbs:\n- path: /a.db\n  replica:\n    url: file:///${NONE}\n";
    assert!(fault(text).starts_with("4: dbs[0].replica.url uses $NONE"));
}

#[test]
fn values_are_checked() {
    let with = |line: &str| fault(&format!("dbs:\n- path: /a.db\n  replica: {{path: /b}}\n{line}"));
    let hint = " | write it as 10s, 1m30s or 500ms";
    assert_eq!(
        with("  busy-timeout: 10\n"),
        format!("4: dbs[0].busy-timeout: the duration \"10\" has no unit{hint}")
    );
    assert!(with("  busy-timeout: -1s\n").contains("cannot be negative"));
    assert!(with("  monitor-interval: 0\n").contains("must be greater than zero"));
    assert!(with("  min-checkpoint-page-count: 0\n").contains("greater than zero, not \"0\""));
    assert!(with("logging: {level: loud}\n").contains("logging.level: \"loud\" is not a level"));
    assert!(with("logging: {type: pretty}\n").contains("pretty is not supported yet"));
    assert!(with("logging: {stderr: perhaps}\n").contains("must be true or false"));
    assert!(with("exec: [a, b]\n").contains("exec must be a text, not a list"));
    assert!(fault("dbs: {path: /a}\n").contains("dbs must be a list, not a mapping"));
    assert!(fault("").starts_with("1: no databases are configured"));
}

#[test]
fn databases_do_not_share() {
    let two = |a: &str, b: &str| fault(&format!("dbs:\n- {{{a}}}\n- {{{b}}}\n"));
    let same = two("path: /a, replica: {path: /x}", "path: /a, replica: {path: /y}");
    assert!(same.starts_with("3: the database /a is already in use"), "{same}");
    let same = two("path: /a, replica: {path: /x}", "path: /b, replica: {path: /x}");
    assert!(same.starts_with("3: the replica file:///x is already in use"), "{same}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-z:\\-\\[\\]{}$&*<#'\" \n\u{e000}\u{e001}]{0,80}") {
        let _ = Config::parse(&text, Some(&lookup));
        let _ = Config::parse(&format!("dbs:\n- path: {text}\n  replica: {{url: {text}}}"), None);
    }
}
