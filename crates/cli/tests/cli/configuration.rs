//! Configuration files, good and bad.

use testkit::Tool;

use crate::program::{Folder, add};

#[track_caller]
fn invalid(text: &str, stderr: &str) {
    let folder = Folder::new();
    folder.write("litestream.yml", text);
    folder.run(&["databases", "-config", "litestream.yml"]).fails(3, stderr);
}

#[test]
fn unknown_and_unsupported_keys_name_themselves_and_their_line() {
    invalid(
        "dbs:\n  - path: /a.db\n    replica:\n      sync_interval: 1s\n",
        "error: /here/litestream.yml:4: unknown key dbs[0].replica.sync_interval\n\
         hint: did you mean \"sync-interval\"?",
    );
    invalid(
        "# one key of Litestream's before 0.5\nurl: 's3://b/c'\n",
        "error: /here/litestream.yml:2: url is no longer a setting\n\
         hint: one replica cannot hold several databases: write it below dbs, under replica",
    );
}

#[test]
fn values_are_checked_where_they_stand() {
    invalid(
        "dbs:\n  - path: /a.db\n    busy-timeout: 10\n    replica: {path: /b}\n",
        "error: /here/litestream.yml:3: dbs[0].busy-timeout: the duration \"10\" has no unit\n\
         hint: write it as 10s, 1m30s or 500ms",
    );
    invalid(
        "dbs:\n  - path: $BROOKLET_UNSET/a.db\n    replica: {path: /b}\n",
        "error: /here/litestream.yml:2: dbs[0].path uses $BROOKLET_UNSET, which is not set\n\
         hint: set the variable, write $$ for a dollar sign, or pass -no-expand-env",
    );
}

/// However it is spelled: the second would write over what the first stores.
#[test]
fn two_replicas_never_have_one_place() {
    let replicate = |dbs: &str, stderr: &str| {
        let folder = Folder::new();
        std::os::unix::fs::symlink(".", folder.path("link")).unwrap();
        folder.write("c.yml", &format!("lease: true\ndbs:\n{dbs}"));
        for command in ["replicate", "databases"] {
            folder.run(&[command, "-config", "c.yml"]).fails(3, stderr);
        }
        assert!(!folder.path("ra").exists(), "nothing is written before");
    };
    let own = "\nhint: give each database its own";
    let a = "- {path: a.db, replica: {path: ra}}\n";
    replicate(
        &format!("{a}- {{path: b.db, replica: {{path: ra}}}}\n"),
        &format!("error: the replica file:///here/ra is already in use by /here/a.db{own}"),
    );
    replicate(
        &format!("{a}- {{path: b.db, replicas: [{{path: rb}}, {{path: link/ra/}}]}}\n"),
        &format!(
            "error: the replica file:///here/link/ra/ is already in use by /here/a.db, \
             as file:///here/ra{own}"
        ),
    );
    replicate(
        "- {path: a.db, replicas: [{path: ra}, {path: x/../ra}]}\n",
        &format!(
            "error: the replica file:///here/x/../ra of /here/a.db is given twice, \
             as file:///here/ra{own}"
        ),
    );
    let s3 = "{type: s3, bucket: b, path: p, endpoint: 'http://127.0.0.1:1'}";
    replicate(
        &format!(
            "- {{path: a.db, replica: {s3}}}\n- {{path: b.db, replica: \
             {{url: 's3://b/p/?endpoint=127.0.0.1:1'}}}}\n"
        ),
        &format!("error: the replica s3://b/p/ is already in use by /here/a.db, as s3://b/p{own}"),
    );
}

#[test]
fn a_missing_file_is_named() {
    let folder = Folder::new();
    let hint = "hint: name it with -config or $LITESTREAM_CONFIG, or pass a replica URL instead";
    folder
        .run(&["databases", "-config", "nope.yml"])
        .fails(3, &format!("error: config file not found: /here/nope.yml\n{hint}"));
    let run = folder.command(&["databases"]).env("LITESTREAM_CONFIG", "elsewhere.yml").output();
    let stderr = String::from_utf8(run.unwrap().stderr).unwrap();
    assert!(stderr.contains("/elsewhere.yml\n"), "{stderr}");
}

#[test]
fn databases_are_listed() {
    let folder = Folder::new();
    folder.write(
        "litestream.yml",
        "dbs:\n- path: ${BASE}/a.db\n  replica: {url: 'file:///backup/a'}\n- path: b.db\n  \
         replicas: [{path: backup}]\n",
    );
    let list = |flags: &[&str]| {
        let mut args = vec!["databases", "-config", "litestream.yml"];
        args.extend(flags);
        let output = folder.command(&args).env("BASE", "/srv").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let here = folder.path("").canonicalize().unwrap();
        let here = here.to_string_lossy().trim_end_matches('/').to_owned();
        String::from_utf8(output.stdout).unwrap().replace(&here, "/here")
    };
    let lines: Vec<String> = list(&[])
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        lines,
        [
            "path replica url",
            "/srv/a.db file file:///backup/a",
            "/here/b.db file file:///here/backup",
        ]
    );
    let json: serde_json::Value = serde_json::from_str(&list(&["--json"])).unwrap();
    assert_eq!(json[1]["path"], "/here/b.db");
    assert_eq!(json[1]["replica"], "file");
}

#[test]
fn status_says_what_litestreams_says() {
    let folder = Folder::new();
    let databases = ["a.db", "b.db"].map(|name| folder.database(name));
    add(&databases[0], 1..=3);
    add(&databases[1], 1..=900);
    let entry = |name: &str| {
        let (path, replica) = (folder.path(name), folder.path("r").join(name));
        format!("- {{path: {}, replica: {{path: {}}}}}\n", path.display(), replica.display())
    };
    let one = format!("dbs:\n{}", entry("a.db"));
    folder.write("a.yml", &one);
    folder.run(&["replicate", "-once", "-config", "a.yml"]).ok();
    folder.write("c.yml", &format!("{one}{}{}", entry("b.db"), entry("missing.db")));
    let rows = folder.run(&["status", "-json", "-config", "c.yml"]).ok().stdout;
    let rows: serde_json::Value = serde_json::from_str(&rows).unwrap();
    let told: Vec<_> = rows.as_array().unwrap().iter().map(|it| it["status"].clone()).collect();
    assert_eq!(told, ["ok", "not initialized", "no database"]);
    let path = folder.path("a.db").display().to_string();
    let unknown = folder.run(&["status", "-config", "c.yml", "other.db"]);
    assert_eq!(unknown.code, Some(3), "{unknown:?}");

    let Some(litestream) = Tool::litestream() else { return };
    for args in [&["-json"][..], &[], &["-json", &path], &[&path]] {
        let args = [&["status", "-config", "c.yml"], args].concat();
        let mut theirs = litestream.command(&args);
        let theirs = theirs.current_dir(folder.path("")).output().unwrap();
        let theirs = String::from_utf8_lossy(&theirs.stdout);
        let here = folder.path("").display().to_string();
        let theirs = theirs.replace(here.trim_end_matches('/'), "/here");
        // How wide columns are depends on how long paths are.
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let ours = folder.run(&args).ok();
        assert_eq!(words(&ours.stdout), words(&theirs), "{args:?}");
    }
}
