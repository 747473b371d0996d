//! What the storage of a replica is told: its place, its options, its credentials.

use super::*;

/// The URL of a replica and what its storage is told.
fn options(root: &str, replica: &str) -> Vec<(String, String)> {
    let text = format!("replica: {replica}\nall: {root}\n");
    let (marked, environment) = Context::mark(&text, Some(&lookup)).unwrap();
    let tree = yaml::parse(&marked).unwrap();
    let context = Context::new(environment, &tree);
    let yaml::Value::Map(entries) = &tree.value else { panic!("{tree:?}") };
    let open = |index: usize, keys| Section::open(&entries[index].1, "it", keys, &context).unwrap();
    let (own, all) = (open(0, &keys::REPLICA), open(1, &keys::ROOT));
    let replica = place::read(&own, &all).unwrap();
    let shown = |name: &str| (name.to_owned(), replica.options.get(name).unwrap().to_owned());
    let url = [("url".to_owned(), replica.url.to_string())];
    url.into_iter().chain(replica.options.names().map(shown)).collect()
}

#[track_caller]
fn assert_options(root: &str, replica: &str, expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
    assert_eq!(options(root, replica), expected);
}

#[test]
fn storage_is_told_what_the_replica_says_and_then_what_holds_for_all() {
    assert_options(
        "{region: eu, part-size: 5MiB, skip-verify: yes, host-key: k}",
        "{type: s3, bucket: b, path: /p, region: us, force-path-style: On, concurrency: 3}",
        &[
            ("url", "s3://b/p"),
            ("bucket", "b"),
            ("concurrency", "3"),
            ("force-path-style", "true"),
            ("part-size", "5242880"),
            ("region", "us"),
            ("skip-verify", "true"),
        ],
    );
    assert_options(
        "{bucket: b, region: eu}",
        "{url: 's3://c/p'}",
        &[("url", "s3://c/p"), ("region", "eu")],
    );
    assert_options(
        "{host-key: k, user: u}",
        "{url: 'sftp://me@h/p', key-path: /id, user: v}",
        &[("url", "sftp://me@h/p"), ("host-key", "k"), ("key-path", "/id"), ("user", "v")],
    );
    assert_options(
        "{reconnect-wait: 90s, timeout: 0}",
        "{url: 'nats://h', bucket: b, root-cas: [/a, /b], max-reconnects: -1, tls: n}",
        &[
            ("url", "nats://h"),
            ("bucket", "b"),
            ("max-reconnects", "-1"),
            ("reconnect-wait", "1m30s"),
            ("root-cas", "/a,/b"),
            ("timeout", "0s"),
            ("tls", "false"),
        ],
    );
}

#[test]
fn keys_stand_for_a_url() {
    let bucket = ("bucket", "b");
    assert_options("{type: s3, bucket: b}", "{path: p/q}", &[("url", "s3://b/p/q"), bucket]);
    assert_options("{type: gs, bucket: b}", "{path: p}", &[("url", "gs://b/p"), bucket]);
    assert_options("{}", "{type: oss, bucket: b}", &[("url", "oss://b/"), bucket]);
    assert_options(
        "{account-name: n}",
        "{type: abs, bucket: b, path: p}",
        &[("url", "abs://b/p"), ("account-name", "n"), bucket],
    );
    let (host, user) = (("host", "h:2222"), ("user", "u"));
    assert_options(
        "{host: 'h:2222'}",
        "{type: sftp, user: u, path: /p}",
        &[("url", "sftp://u@h:2222/p"), host, user],
    );
    assert_options(
        "{host: 'h:2222'}",
        "{type: sftp, user: u, path: p}",
        &[("url", "sftp://u@h:2222"), host, ("path", "p"), user],
    );
    assert_options(
        "{webdav-username: u, webdav-url: 'https://h/dav%20s/'}",
        "{type: webdav, path: '/a 50%', webdav-password: $DATA}",
        &[
            ("url", "webdavs://h/dav%20s/a 50%25"),
            ("webdav-password", "/srv/data"),
            ("webdav-url", "https://h/dav%20s/"),
            ("webdav-username", "u"),
        ],
    );
}

#[test]
fn credentials_may_come_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key").display().to_string();
    std::fs::write(&file, "hush\n").unwrap();
    let secret = |value: &str, variable: &str| {
        let lookup = |name: &str| (name == variable).then(|| file.clone());
        let text = format!("dbs: [{{path: /a, replica: {{url: 's3://b/p', {value}}}}}]\n");
        let (config, _) = Config::parse(&text, Some(&lookup)).unwrap();
        assert!(!format!("{config:?}").contains("hush"), "{config:?}");
        config.databases[0].replicas[0].options.get("secret-access-key").map(str::to_owned)
    };
    let expected = Some("hush".to_owned());
    assert_eq!(secret(&format!("secret-access-key-file: {file}"), "X"), expected);
    assert_eq!(secret("secret-access-key: '${SECRET}'", "SECRET_FILE"), expected);
    assert_eq!(secret("secret-access-key: '${SECRET}'", "SECRET"), Some(file.clone()));
}

#[test]
fn credentials_that_cannot_be_had_are_errors() {
    let with = |key: &str| {
        fault(&format!("dbs:\n- path: /a\n  replica: {{url: 's3://b/p',\n    {key}}}\n"))
    };
    let unset = with("secret-access-key: $NONE");
    assert!(unset.starts_with("4: dbs[0].replica.secret-access-key uses $NONE, which"), "{unset}");
    let missing = with("secret-access-key-file: /no/such/file");
    let start = "4: dbs[0].replica.secret-access-key-file: cannot read /no/such/file: ";
    assert!(missing.starts_with(start), "{missing}");
    let both = with("secret-access-key: x, secret-access-key-file: /y");
    assert!(both.contains("cannot both be set"), "{both}");
    assert!(with("secret-access-keyfile: x").contains("unknown key"));
}

#[test]
fn storage_needs_its_place() {
    let with = |replica: &str| fault(&format!("dbs: [{{path: /a, replica: {{{replica}}}}}]\n"));
    for (replica, missing) in [
        ("type: s3, path: p", "bucket"),
        ("type: gs", "bucket"),
        ("type: abs", "bucket"),
        ("type: oss", "bucket"),
        ("type: nats, bucket: b", "url"),
        ("type: sftp, user: u", "host"),
        ("type: sftp, host: h", "user"),
        ("type: webdav", "webdav-url"),
        ("url: 'nats://h/b', client-cert: /c", "client-key"),
        ("url: 'nats://h/b', client-key: /c", "client-cert"),
    ] {
        let fault = with(replica);
        assert!(fault.starts_with(&format!("1: dbs[0].replica.{missing} is missing")), "{fault}");
    }
    assert!(with("type: tape").starts_with("1: dbs[0].replica.type: \"tape\" is not a type"));
    for beside in ["path: /c", "bucket: b"] {
        let fault = with(&format!("url: 's3://b/p', {beside}"));
        assert!(fault.contains("cannot both be set | keep url"), "{fault}");
    }
    assert!(with("url: 'sftp://h/p', host: h").contains("cannot both be set"));
    assert!(with("url: 'webdav://h/p', webdav-url: h").contains("cannot both be set"));
}
