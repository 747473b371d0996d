//! The demo is a test of its own; here it has to pass.

use crate::program::Folder;

#[test]
fn the_demo_proves_its_point_and_leaves_nothing() {
    let folder = Folder::new();
    let output =
        folder.command(&["demo", "-seconds", "2"]).env("TMPDIR", folder.path("")).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("every one exactly as it was placed"), "{stdout}");
    assert_eq!(std::fs::read_dir(folder.path("")).unwrap().count(), 0);
}

#[test]
fn it_keeps_its_folder_if_asked() {
    let folder = Folder::new();
    let mut command = folder.command(&["demo", "-seconds", "1", "-keep"]);
    let output = command.env("TMPDIR", folder.path("")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let kept = std::fs::read_dir(folder.path("")).unwrap().next().unwrap().unwrap().path();
    assert!(kept.join("shop.db").exists() && kept.join("replica").exists());
}

#[test]
fn on_a_terminal_one_line_is_kept_up_to_date() {
    let (code, sent) = Folder::new().run_on_a_terminal(&["demo", "-seconds", "1"]);
    assert_eq!(code, Some(0), "{sent}");
    assert!(sent.matches("\r\x1b[2K").count() > 5, "{sent}");
}
