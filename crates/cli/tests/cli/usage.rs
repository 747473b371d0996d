//! Command lines that cannot be followed, and what is said about them.

use crate::program::Folder;

#[track_caller]
fn refused(args: &[&str], stderr: &str) {
    Folder::new().run(args).fails(2, stderr);
}

#[test]
fn commands_and_flags_that_do_not_exist() {
    refused(
        &[],
        "error: a command is missing\n\
         hint: brooklet demo shows what it does; brooklet help lists the commands",
    );
    refused(
        &["replicat"],
        "error: there is no command \"replicat\"\nhint: did you mean replicate?",
    );
    refused(
        &["replicate", "-onse", "a.db", "file:///b"],
        "error: unknown flag -onse\nhint: did you mean -once?",
    );
    refused(
        &["version", "x"],
        "error: unexpected argument \"x\"\nhint: usage: brooklet version [OPTIONS]",
    );
}

#[test]
fn values_that_do_not_fit() {
    refused(
        &["restore", "-integrity-check", "deep", "-o", "a.db", "file:///b"],
        "error: -integrity-check: \"deep\" is not a value for it\nhint: values: none, quick, full",
    );
    refused(
        &["ltx", "-level", "12", "file:///b"],
        "error: -level: \"12\" is not a value for it: 0 to 9, or all\nhint: brooklet help",
    );
    refused(
        &["restore", "-txid", "2a", "-o", "a.db", "file:///b"],
        "error: -txid: \"2a\" is not a transaction\n\
         hint: 16 hex digits, such as 000000000000002a; brooklet ltx lists them",
    );
    refused(
        &["restore", "-timestamp", "soon", "-o", "a.db", "file:///b"],
        "error: cannot read the point in time \"soon\"\n\
         hint: write 2026-11-22T10:00:00Z, \"2026-11-22 10:00\" (local time), \"yesterday 18:30\" \
         or \"5 minutes ago\"",
    );
    refused(
        &["replicate", "-exec", "sh 'x", "a.db", "file:///b"],
        "error: -exec: cannot split \"sh 'x\": missing closing quote\nhint: close the quotes",
    );
}

#[test]
fn arguments_that_are_missing_or_too_many() {
    refused(
        &["replicate", "a.db"],
        "error: the replica URL for a.db is missing\n\
         hint: as in: brooklet replicate app.db file:///backup/app",
    );
    refused(
        &["replicate", "a.db", "file:///b", "file:///b"],
        "error: the replica file:///b is given twice",
    );
    refused(
        &["replicate", "file:///b", "a.db"],
        "error: the database comes first, and file:///b is a URL\n\
         hint: as in: brooklet replicate app.db file:///backup/app",
    );
    refused(
        &["restore", "file:///b"],
        "error: a replica URL needs -o: where to restore to\n\
         hint: as in: brooklet restore -o app.db file:///b",
    );
}

#[test]
fn flags_that_exclude_each_other() {
    refused(
        &["replicate", "-config", "c.yml", "a.db", "file:///b"],
        "error: -config and a replica URL cannot be used together\n\
         hint: with -config, name the database by its path",
    );
    refused(
        &["replicate", "-once", "-exec", "true", "a.db", "file:///b"],
        "error: -once and -exec cannot be used together",
    );
    let txid = "0000000000000001";
    refused(
        &["restore", "-txid", txid, "-timestamp", "now", "-o", "a.db", "file:///b"],
        "error: -txid and -timestamp cannot be used together",
    );
}

#[test]
fn words_of_litestream_that_we_lack() {
    refused(
        &["restore", "-generation", "abc", "a.db"],
        "error: restore: -generation is gone since Litestream 0.5\n\
         hint: there are no generations any more: choose a state with -txid or -timestamp",
    );
    refused(
        &["replicate", "-force-snapshot", "a.db", "file:///b"],
        "error: -force-snapshot needs -once\nhint: without it, snapshots and retention have their intervals",
    );
    refused(
        &["replicate", "a.db", "ftp://host/a"],
        "error: ftp://host/a: unknown storage scheme \"ftp\"",
    );
}

#[test]
fn help_teaches_by_example() {
    let folder = Folder::new();
    for command in [
        "replicate",
        "restore",
        "databases",
        "ltx",
        "version",
        "demo",
        "health",
        "info",
        "list",
        "start",
        "stop",
        "sync",
        "register",
        "unregister",
    ] {
        for flag in ["-h", "-help", "--help"] {
            let help = folder.run(&[command, flag]).ok().stdout;
            assert!(help.contains("Example"), "{help}");
            assert!(help.contains(&format!("\n  brooklet {command}")), "{help}");
        }
    }
    let help = folder.run(&["help"]).ok().stdout;
    assert!(help.contains("brooklet demo") && !help.contains("demo-app"), "{help}");
    assert!(folder.run(&["version"]).ok().stdout.contains("SQLite 3."));
}
