//! What is made from the definitions of commands and keys: the schema, completions, manual pages.
//! And the examples that go with them.

use std::path::{Path, PathBuf};

use crate::program::Folder;

/// `docs` of the repository.
fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

#[test]
fn the_schema_is_the_one_in_the_repository() {
    let printed = Folder::new().run(&["schema"]).ok().stdout;
    let path = docs().join("config.schema.json");
    if std::env::var_os("BROOKLET_TEST_BLESS").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == printed, "keys have changed: BROOKLET_TEST_BLESS=1 cargo test writes it anew");
}

#[test]
fn the_schema_knows_keys_at_each_level() {
    let printed = Folder::new().run(&["schema"]).ok().stdout;
    let schema: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let replica = &schema["$defs"]["replica"]["properties"];
    assert!(replica["secret-access-key-file"].is_object());
    assert!(replica["retention"].is_null(), "dropped");
    assert_eq!(replica["name"]["deprecated"], true);
    assert!(schema["properties"]["region"].is_object(), "inherited by replicas");
    assert!(schema["properties"]["mcp-addr"].is_object());
    assert_eq!(schema["$defs"]["database"]["additionalProperties"], false);
}

#[test]
fn every_example_is_a_valid_configuration() {
    let mut seen = 0;
    for entry in std::fs::read_dir(docs().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let folder = Folder::new();
        std::fs::create_dir(folder.path("tenants")).unwrap();
        // Directories are looked into.
        let text = std::fs::read_to_string(&path).unwrap();
        folder.write("example.yml", &text.replace("/data/tenants", "tenants"));
        let mut command = folder.command(&["databases", "-config", "example.yml"]);
        let ran = command.env("DATABASE", "/data/app.db").env("BACKUP", "/backup").output();
        let ran = ran.unwrap();
        assert!(ran.status.success() && ran.stderr.is_empty(), "{}: {ran:?}", path.display());
        seen += 1;
    }
    assert!(seen >= 5, "{seen}");
}

#[test]
fn shells_complete_commands_and_flags() {
    for (shell, sign) in [
        ("bash", "complete -F _brooklet"),
        ("zsh", "#compdef brooklet"),
        ("fish", "complete -c brooklet"),
    ] {
        let script = Folder::new().run(&["completions", shell]).ok().stdout;
        assert!(script.contains(sign), "{script}");
        for word in ["restore", "if-replica-exists", "follow-interval"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let hint = "hint: values: bash, zsh, fish";
    let ran = Folder::new().run(&["completions", "tcsh"]);
    assert!(ran.code == Some(2) && ran.stderr.contains(hint), "{ran:?}");
}

#[test]
fn each_command_has_a_manual_page() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("man1")).unwrap();
    folder.run(&["man", "man1"]).ok();
    let page = |name: &str| std::fs::read_to_string(folder.path("man1").join(name)).unwrap();
    assert!(page("brooklet.1").contains("restore"));
    assert!(page("brooklet-restore.1").contains("the state at a moment"), "examples are in it");
    assert!(!folder.path("man1/brooklet-demo-app.1").exists());
    folder.run(&["man", "nowhere"]).fails(
        1,
        "error: cannot write manual pages to nowhere: No such file or directory (os error 2)\n\
         hint: name a directory that exists",
    );
}
