//! A corpus of configurations, good and bad.

mod storage_of_replicas;

use super::keys::{Key, Keys, Kind, Standing};
use super::*;
use crate::logging::{Format, Level};
use engine::{Retention, Validation};
use storage::Url;

fn lookup(name: &str) -> Option<String> {
    (name == "DATA").then(|| "/srv/data".to_owned())
}

fn parse(text: &str) -> Config {
    Config::parse(text, Some(&lookup)).unwrap().0
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
    let expected = Database::new("/a.db".into(), vec![Url::File("/backup/a".into()).into()]);
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
    assert_eq!(a.replicas, [Url::File("/srv/data/backup".into()).into()]);
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
    let (config, _) = Config::parse(text, None).unwrap();
    assert_eq!(config.databases[0].path, Path::new("/$A/$$b.db"));
    assert_eq!(config.databases[0].replicas, [Url::File("/${C".into()).into()]);
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
        "3: unknown key dbs[0].zebra | keys here: path, dir, pattern, recursive, watch, meta-path, \
         meta-dir, replica, replicas, monitor-interval, checkpoint-interval, busy-timeout, \
         min-checkpoint-page-count, truncate-page-n, max-sync-wal-bytes, snapshot, \
         restore-if-db-not-exists, spool-limit"
    );
    let text = "dbs: [{path: /a, replica: {path: /b}}]\nlogging:\n  levle: info\n";
    assert!(fault(text).starts_with("3: unknown key logging.levle | did"));
}

#[test]
fn keys_of_litestream_that_we_lack_say_so() {
    for (text, start) in [
        ("dbs:\n- shadow-retention-n: 1\n", "2: dbs[0].shadow-retention-n is no longer a setting"),
        ("url: 's3://b/c'\n", "1: url is no longer a setting | one replica cannot hold several"),
        ("dbs:\n- path: /a\n  replica:\n    retention: 1h\n", "4: dbs[0].replica.retention is no"),
    ] {
        assert!(fault(text).starts_with(start), "{}", fault(text));
    }
}

#[test]
fn replicas_must_be_somewhere() {
    let with = |replica: &str| fault(&format!("dbs:\n- path: /a.db\n{replica}"));
    assert!(with("").starts_with("2: dbs[0].replica is missing"));
    assert!(with("  replicas: []\n").starts_with("2: dbs[0].replica is missing"));
    assert!(with("  replicas:\n  - path: /b\n  replica: {path: /c}\n").contains("cannot both"));
    assert!(with("  replica: {}\n").starts_with("3: dbs[0].replica.url is missing"));
    assert!(with("  replica: file:///b\n").starts_with("3: dbs[0].replica must be a mapping"));
    assert!(with("  replica: {url: ftp://b/c}\n").contains("unknown storage scheme"));
    assert!(with("  replica: {url: /b}\n").contains("is not a URL"));
    assert!(with("  replica: {path: file:///b}\n").contains("use the key url"));
    assert!(with("  replica: {path: /b, url: file:///b}\n").contains("cannot both be set"));
}

#[test]
fn a_directory_stands_for_its_databases() {
    let with = |more: &str| {
        format!("dbs:\n- dir: /data\n{more}  replica: {{path: /b}}\n  busy-timeout: 3s\n")
    };
    let config = parse(&with("  pattern: '*.db'\n  recursive: yes\n  meta-dir: /m\n"));
    assert!(config.databases.is_empty());
    let [directory] = &config.directories[..] else { panic!("{config:?}") };
    assert!(!directory.watch);
    let database = directory.database(Path::new("/data/x/app.db")).expect("a database");
    assert_eq!(database.replicas, [Url::File("/b/x/app.db".into()).into()]);
    assert_eq!(database.meta.as_deref(), Some(Path::new("/m/x/app.db-litestream")));
    assert_eq!(database.busy_timeout, Duration::from_secs(3));
    assert!(directory.database(Path::new("/data/x/app.txt")).is_none());
    assert!(directory.database(Path::new("/other/app.db")).is_none());
    let config = parse(&with("  pattern: '*.db'\n  meta-path: /m\n"));
    let database = config.directories[0].database(Path::new("/data/app.db")).expect("a database");
    assert_eq!(database.meta.as_deref(), Some(Path::new("/m/.app.db-litestream")));

    assert!(fault(&with("")).starts_with("2: dbs[0].pattern is missing"));
    assert!(fault(&with("  path: /x\n  pattern: '*'\n")).contains("cannot both be set"));
    for key in ["pattern", "recursive", "watch", "meta-dir"] {
        let pattern = if key == "pattern" { "" } else { "  pattern: '*'\n" };
        let fault = fault(&with(&format!("{pattern}  {key}: [x]\n")));
        assert!(fault.contains(&format!("dbs[0].{key} must be a text")), "{fault}");
    }
    assert!(fault(&with("  pattern: '*'\n  watch: perhaps\n")).contains("true or false"));
    assert!(fault(&with("  pattern: '[a'\n")).starts_with("3: dbs[0].pattern: \"[a\""));
    let both = "  pattern: '*'\n  meta-dir: /m\n  meta-path: /n\n";
    assert!(fault(&with(both)).contains("cannot both be set"));
    let alone = "dbs:\n- path: /a\n  watch: true\n  replica: {path: /b}\n";
    assert!(fault(alone).starts_with("3: dbs[0].watch goes with dir only"));
}

#[test]
fn validation_is_for_all_or_for_a_replica() {
    let interval = |text: &str| parse(text).databases[0].history.validation;
    let dbs = "dbs: [{path: /a, replica: {path: /b}}]\n";
    assert_eq!(interval(dbs), None);
    let hourly = Some(Validation { interval: Duration::from_secs(3600), full: false });
    assert_eq!(interval(&format!("validation-interval: 1h\n{dbs}")), hourly);
    let own = "dbs: [{path: /a, replica: {path: /b, validation-interval: 1h}}]\n";
    assert_eq!(interval(own), hourly);
    let full = Some(Validation { interval: Duration::from_secs(3600), full: true });
    assert_eq!(interval(&format!("validation: {{interval: 24h, full: true}}\n{own}")), full);
}

#[test]
fn limits_and_the_address_are_for_all() {
    let dbs = "dbs: [{path: /a, replica: {path: /b}}]\n";
    let config = parse(&format!("addr: ':9090'\nupload-rate: 10MB\nrequest-rate: 5\n{dbs}"));
    assert_eq!(config.address.as_deref(), Some(":9090"));
    assert_eq!(config.limits, (Some(10_000_000), Some(5)));
    assert!(fault(&format!("request-rate: 0\n{dbs}")).starts_with("1: request-rate must be"));
}

#[test]
fn a_database_may_have_several_replicas() {
    let config = parse("dbs:\n- path: /a\n  replicas: [{path: /b}, {path: /c}]\n");
    let replicas = ["/b", "/c"].map(|path| Url::File(path.into()).into());
    assert_eq!(config.databases[0].replicas, replicas);
}

#[test]
fn history_is_kept_as_the_file_says() {
    let seconds = Duration::from_secs;
    let dbs = "dbs:\n- {path: /a, replica: {path: /b}}\n\
               - {path: /c, replica: {path: /d}, snapshot: {interval: 2h}, spool-limit: 512MB}\n";
    let config = parse(&format!(
        "{dbs}levels: [{{interval: 10s}}, {{interval: 1m, retention: 1h}}]\nl0-retention: 1m\n\
         snapshot: {{interval: 1h, retention: 48h}}\nretention: {{enabled: no}}\n"
    ));
    let [one, other] = &config.databases[..] else { panic!("{config:?}") };
    assert_eq!(one.history.levels, [seconds(10), seconds(60)]);
    let retention = Retention {
        enabled: false,
        levels: vec![Some(seconds(60)), None, Some(seconds(3600))],
        snapshots: seconds(48 * 3600),
    };
    assert_eq!(one.history.retention, retention);
    assert_eq!(one.history.snapshot_interval, seconds(3600));
    assert_eq!(other.history.snapshot_interval, seconds(2 * 3600));
    assert_eq!(other.spool_limit, Some(512_000_000));
}

#[test]
fn settings_of_history_are_checked() {
    let with = |text: &str| fault(&format!("dbs: [{{path: /a, replica: {{path: /b}}}}]\n{text}"));
    assert!(with("levels: [{}]\n").starts_with("2: levels[0].interval is missing"));
    assert!(with("levels: [{interval: 0s}]\n").contains("must be greater than zero"));
    let many = "{interval: 1s},".repeat(9);
    assert!(with(&format!("levels: [{many}]\n")).starts_with("2: levels: there are at most 8"));
    assert!(with("retention: 24h\n").starts_with("2: retention must be a mapping"));
    assert!(with("snapshot: {intervall: 1h}\n").contains("did you mean \"interval\""));
    let limit = "dbs: [{path: /a, replica: {path: /b}, spool-limit: 4 apples}]\n";
    assert!(fault(limit).starts_with("1: dbs[0].spool-limit: \"4 apples\" is not a size"));
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
    assert!(with("logging: {type: loud}\n").contains("\"loud\" is not a type"));
    assert!(with("logging: {stderr: perhaps}\n").contains("must be true or false"));
    assert!(with("exec: [a, b]\n").contains("exec must be a text, not a list"));
    assert!(fault("dbs: {path: /a}\n").contains("dbs must be a list, not a mapping"));
    assert!(fault("").starts_with("1: no databases are configured"));
}

/// However a database comes here, the same holds for it.
#[test]
fn what_is_not_listed_has_what_an_entry_of_path_and_url_has() {
    let root = "lease: true\nlease-ttl: 9s\nsync-interval: 3s\nvalidation-interval: 7h\n\
                levels: [{interval: 5s, retention: 1h}]\nl0-retention: 1m\n\
                snapshot: {interval: 1h, retention: 48h}\nretention: {enabled: false}\n\
                age: {identities: [AGE-SECRET-KEY-1X]}\nregion: eu-west-1\n\
                access-key-id: me\nsecret-access-key: hush\nendpoint: https://s.example\n\
                bucket: elsewhere\nkey-path: /key\nhost: elsewhere\n";
    for root in [root, ""] {
        for url in ["file:///r", "s3://b/p", "sftp://me@host/p", "webdavs://host/p", "nats://h/b"] {
            let entry = format!("dbs: [{{path: /a.db, replica: {{url: '{url}'}}}}]\n");
            let config = parse(&format!("{root}{entry}"));
            let replica = url.parse::<Url>().unwrap().into();
            let made = config.defaults.database("/a.db".into(), replica);
            assert_eq!(made, config.databases[0], "{url}");
        }
    }
    let none = Defaults::default().database("/a.db".into(), Url::File("/r".into()).into());
    assert_eq!(none, Database::new("/a.db".into(), vec![Url::File("/r".into()).into()]));
}

#[test]
fn databases_do_not_share() {
    let two = |a: &str, b: &str| fault(&format!("dbs:\n- {{{a}}}\n- {{{b}}}\n"));
    let same = two("path: /a, replica: {path: /x}", "path: /a, replica: {path: /y}");
    assert!(same.starts_with("3: the database /a is already in use"), "{same}");
    let meta = "meta-path: /m, replica: {path: /x}";
    let same = two(&format!("path: /a, {meta}"), &format!("path: /b, {meta}"));
    assert!(same.starts_with("3: the meta-path /m is already in use"), "{same}");
}

/// Every key that a file may hold, with the section that it is in, as a whole file around a value.
fn files_around(value: &str) -> Vec<(String, &'static Key, String)> {
    let dbs = "dbs: [{path: /a, replica: {path: /b}}]";
    let in_section = |path: &str, before: &str, after: &str, keys: &'static Keys| {
        let file = |key: &'static Key| {
            let name = format!("{path}{}", key.name);
            (name, key, format!("{before}{}: {value}{after}\n", key.name))
        };
        keys.iter().map(file).collect::<Vec<_>>()
    };
    let below = |section: &str, keys| {
        in_section(&format!("{section}."), &format!("{dbs}\n{section}: {{"), "}", keys)
    };
    let mut files = in_section("", &format!("{dbs}\n"), "", &keys::ROOT);
    let replica = "dbs: [{path: /a, replica: {path: /b, ";
    files.extend(in_section("dbs[0].replica.", replica, "}}]", &keys::REPLICA));
    let age = "dbs: [{path: /a, replica: {path: /b, age: {";
    files.extend(in_section("dbs[0].replica.age.", age, "}}}]", &keys::AGE));
    let database = "dbs: [{path: /a, replica: {path: /b}, ";
    files.extend(in_section("dbs[0].", database, "}]", &keys::DATABASE));
    let own = "dbs: [{path: /a, replica: {path: /b}, snapshot: {";
    files.extend(in_section("dbs[0].snapshot.", own, "}}]", &keys::SNAPSHOT));
    files.extend(below("snapshot", &keys::SNAPSHOT));
    files.extend(below("retention", &keys::RETENTION));
    files.extend(below("validation", &keys::VALIDATION));
    files.extend(below("logging", &keys::LOGGING));
    files.extend(below("socket", &keys::SOCKET));
    let levels = format!("{dbs}\nlevels: [{{interval: 1s}}, {{");
    files.extend(in_section("levels[1].", &levels, "}]", &keys::LEVEL));
    files.retain(|(name, ..)| {
        // Set by the file around them, or part of their section's other tests.
        !["dbs", "dbs[0].path", "dbs[0].replica.path", "dbs[0].replica", "dbs[0].replicas"]
            .contains(&&**name)
    });
    files
}

#[test]
fn each_key_refuses_a_value_of_another_kind() {
    // No key takes a list of mappings of lists; what it says names the key.
    for (name, key, file) in files_around("[{x: []}]") {
        if let Standing::Ignored(_) = key.standing {
            continue;
        }
        let fault = fault(&file);
        assert!(fault.contains(&name), "{name}: {fault}");
        if fault.contains("goes with dir only") {
            continue;
        }
        let kind = match key.standing {
            Standing::Dropped(_) => "is no longer a setting",
            _ => match key.kind {
                Kind::Section(_) => "must be a mapping",
                Kind::Sections(_) => "unknown key",
                Kind::Texts => "must be a list of texts",
                _ => "must be a text, not a list",
            },
        };
        assert!(fault.contains(kind), "{name}: {fault}");
    }
}

#[test]
fn each_scalar_key_refuses_a_word_that_means_nothing_to_it() {
    for (name, key, file) in files_around("$$%&") {
        let free = matches!(key.kind, Kind::Text | Kind::Place | Kind::Secret);
        if free || !key.is_allowed() || matches!(key.standing, Standing::Ignored(_)) {
            continue;
        }
        let fault = fault(&file);
        assert!(fault.contains(&name), "{name}: {fault}");
    }
}

#[test]
fn each_key_of_storage_goes_with_its_own_storage_only() {
    for key in keys::STORAGE {
        let value = match key.kind {
            Kind::Flag => "yes",
            Kind::Duration => "3s",
            Kind::Count | Kind::Integer | Kind::Bytes => "5",
            Kind::Texts => "[a]",
            _ => "x",
        };
        let name = key.name;
        let file = |storage: &str| {
            format!("dbs: [{{path: /a, replica: {{{storage}, {name}: {value}}}}}]\n")
        };
        let in_file = fault(&file("path: /b"));
        let start = format!("1: dbs[0].replica.{name} means nothing to file storage | it goes");
        assert!(in_file.starts_with(&start), "{in_file}");
        let is_place = ["bucket", "host", "webdav-url"].contains(&name);
        for backend in key.backends.iter().filter(|_| !is_place) {
            let other = match name {
                "client-cert" => ", client-key: y",
                "client-key" => ", client-cert: y",
                _ => "",
            };
            let config = parse(&file(&format!("url: '{backend}://h/b'{other}")));
            assert!(config.databases[0].replicas[0].options.get(name).is_some(), "{name}");
        }
        parse(&format!("dbs: [{{path: /a, replica: {{path: /b}}}}]\n{name}: {value}\n"));
    }
}

/// What a file that is taken has to say.
fn warnings(text: &str) -> Vec<String> {
    let (_, warnings) = Config::parse(text, Some(&lookup)).unwrap();
    warnings.into_iter().map(|it| format!("{}: {}", it.line, it.message)).collect()
}

#[test]
fn a_lax_file_is_warned_of_what_has_no_meaning() {
    let text = "strict: no
dbss: []
dbs:
- path: /a
  max-checkpoint-page-count: 5
  zebra: {of: [any, kind]}
  replica: {path: /b, retention: 1h, bucket: b, sync_interval: 5s}
";
    assert_eq!(
        warnings(text),
        [
            "2: unknown key dbss",
            "5: dbs[0].max-checkpoint-page-count is no longer a setting",
            "6: unknown key dbs[0].zebra",
            "7: dbs[0].replica.retention is no longer a setting",
            "7: unknown key dbs[0].replica.sync_interval",
            "7: dbs[0].replica.bucket means nothing to file storage",
        ]
    );
    assert!(fault("strict: perhaps\ndbs: [{path: /a, replica: {path: /b}}]").starts_with("1: str"));
    assert!(fault("strict: true\ndbss: []\n").starts_with("2: unknown key dbss"));
}

#[test]
fn what_litestream_ignores_too_is_a_warning_at_most() {
    let replica = "dbs: [{path: /a, replica: {name: main, path: /b}}]\n";
    assert_eq!(warnings(replica), ["1: dbs[0].replica.name is deprecated and ignored"]);
    let directory =
        "dbs: [{dir: /a, pattern: '*', restore-if-db-not-exists: on, replica: {path: /b}}]";
    let warning = "1: dbs[0].restore-if-db-not-exists has no effect on a directory";
    assert_eq!(warnings(directory), [warning]);
}

#[test]
fn every_key_of_the_daemon() {
    let dbs = "dbs: [{path: /a, replica: {path: /b}, restore-if-db-not-exists: YES}]\n";
    let config = parse(&format!(
        "{dbs}socket: {{enabled: on, path: $DATA/s, permissions: 0660}}\n\
         heartbeat-url: https://beat/${{DATA}}\nheartbeat-interval: 1m30s\n\
         logging: {{type: pretty, source: y, level: warning}}\n"
    ));
    let socket = Socket { enabled: true, path: "/srv/data/s".into(), mode: 0o660 };
    assert_eq!(config.socket, socket);
    let interval = Duration::from_secs(90);
    let url = "https://beat//srv/data".to_owned();
    assert_eq!(config.heartbeat, Some(Heartbeat { url, interval }));
    assert_eq!((config.logging.format, config.logging.source), (Format::Pretty, true));
    assert_eq!(config.logging.level, Some(Level::Warn));
    assert!(config.databases[0].restore_if_missing);

    let config = parse(dbs);
    let socket = Socket { enabled: false, path: "/var/run/litestream.sock".into(), mode: 0o600 };
    assert_eq!((config.socket, config.heartbeat), (socket, None));
    let with = |text: &str| fault(&format!("{dbs}{text}\n"));
    assert!(with("heartbeat-interval: 59s").contains("must be a minute or more"));
    assert!(with("heartbeat-url: ftp://x").contains("must begin with http"));
    assert!(with("heartbeat-url: http://$NONE").contains("uses $NONE, which is not set"));
    assert!(with("socket: {permissions: 0888}").starts_with("2: socket.permissions: \"0888\" is"));
    assert!(with("socket: {permissions: 07777}").contains("write it in octal"));
}

#[test]
fn truth_has_many_words() {
    let flag = |word: &str| {
        parse(&format!("dbs: [{{path: /a, replica: {{path: /b}}}}]\nsocket: {{enabled: {word}}}\n"))
            .socket
            .enabled
    };
    for word in ["true", "True", "TRUE", "yes", "Yes", "on", "ON", "y", "Y"] {
        assert!(flag(word), "{word}");
    }
    for word in ["false", "FALSE", "no", "No", "off", "Off", "n", "N", ""] {
        assert!(!flag(word), "{word}");
    }
}

#[test]
fn json_is_a_configuration_too() {
    let text = "{\n\t\"dbs\": [\n\t\t{\"path\": \"/a\\u0062.db\", \"busy-timeout\": \"2s\",\n\
                \t\t \"replica\": {\"url\": \"file:\\/\\/\\/backup\\/a\", \"sync-interval\": null}}\n\t],\n\
                \t\"retention\": {\"enabled\": false}, \"l0-retention\": 0\n}\n";
    let config = parse(text);
    assert_eq!(config.databases[0].path, Path::new("/ab.db"));
    assert_eq!(config.databases[0].replicas, [Url::File("/backup/a".into()).into()]);
    assert_eq!(config.databases[0].busy_timeout, Duration::from_secs(2));
    assert!(!config.databases[0].history.retention.enabled);
}

#[test]
fn age_identities_are_for_all_or_for_a_replica_and_stay_secret() {
    let identities = |text: &str| {
        let database = parse(text).databases.remove(0);
        assert!(!format!("{database:?}").contains("hush"), "{database:?}");
        database.identities.iter().map(|it| it.reveal().to_owned()).collect::<Vec<_>>()
    };
    let all = "age: {identities: [hush1]}\ndbs: [{path: /a, replica: {path: /b}}]\n";
    assert_eq!(identities(all), ["hush1"]);
    let own = "age: {identities: [hush1]}\n\
               dbs: [{path: /a, replica: {path: /b, age: {identities: [hush2]}}}]\n";
    assert_eq!(identities(own), ["hush2"]);
    let recipients = "dbs: [{path: /a, replica: {path: /b, age: {recipients: [age1x]}}}]\n";
    let fault = fault(recipients);
    assert!(
        fault.starts_with("1: dbs[0].replica.age.recipients is no longer a setting"),
        "{fault}"
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-z:\\-\\[\\]{}$&*<#'\" \n\u{e000}\u{e001}]{0,80}") {
        let _ = Config::parse(&text, Some(&lookup));
        let _ = Config::parse(&format!("dbs:\n- path: {text}\n  replica: {{url: {text}}}"), None);
    }
}
