//! A tool that is called: it runs commands of this program, as somebody might type them.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use storage::Url;

use super::Server;
use super::tools::{CONFIG, Kind, Tool};
use crate::args::ConfigArgs;
use crate::daemon::health::Thresholds;
use crate::daemon::served;
use crate::program;

/// A tool, and what it is told.
#[derive(Debug)]
pub struct Call {
    tool: Tool,
    given: BTreeMap<&'static str, String>,
}

/// What came of it.
#[derive(Debug)]
pub struct Told {
    pub text: String,
    pub is_done: bool,
}

impl Call {
    /// Reads a call; `all` says whether more may be asked for than looking at what is our own.
    pub fn read(params: &Value, all: bool) -> Result<Call, String> {
        let name = params["name"].as_str().unwrap_or_default();
        let tool = Tool::ALL.into_iter().find(|it| it.name() == name);
        let tool = tool.ok_or_else(|| format!("there is no tool {name:?}"))?;
        let needs_token = |what: &str| format!("{what} needs an mcp-token in the configuration");
        if !all && !tool.only_looks() {
            return Err(needs_token(name));
        }
        let mut given = BTreeMap::new();
        for (key, value) in params["arguments"].as_object().into_iter().flatten() {
            let known = tool.parameters().iter().find(|it| it.name == key);
            let known = known.ok_or_else(|| format!("{name} has no parameter {key:?}"))?;
            if let Some(text) = known.read(value)? {
                given.insert(known.name, text);
            }
        }
        if let Some(missing) = tool
            .parameters()
            .iter()
            .find(|it| it.kind == Kind::Needed && !given.contains_key(it.name))
        {
            return Err(format!("{name} needs {}", missing.name));
        }
        let call = Call { tool, given };
        match () {
            () if all => Ok(call),
            () if call.given.contains_key(CONFIG.name) => Err(needs_token(CONFIG.name)),
            () if call.names_url() => Err(needs_token("a URL")),
            () => Ok(call),
        }
    }

    fn names_url(&self) -> bool {
        self.given.get("path").is_some_and(|path| Url::is_url(path))
    }

    /// Does it, which may take as long as a restore takes.
    pub fn run(&self, server: &Server) -> Told {
        let mut told = Told { text: String::new(), is_done: true };
        for arguments in self.commands(&server.config) {
            told.add(run(&arguments));
        }
        if self.tool == Tool::Info {
            let status = served::status(&server.fleet, &Thresholds::default());
            told.text += "\nThis daemon, now:\n";
            told.text += &serde_json::to_string_pretty(&status).unwrap_or_default();
        }
        told
    }

    /// What is to be typed for it.
    fn commands(&self, own: &ConfigArgs) -> Vec<Vec<String>> {
        let path = self.given.get("path");
        let command = |name: &str| {
            let mut typed = vec![name.to_owned()];
            if !self.names_url() {
                typed.extend(self.configuration(own));
            }
            typed.extend(self.flags());
            if let Some(path) = path {
                typed.extend(["--".to_owned(), path.clone()]);
            }
            typed
        };
        let version = || vec!["version".to_owned()];
        match self.tool {
            Tool::Info => vec![version(), command("databases"), command("status")],
            Tool::Databases => vec![command("databases")],
            Tool::Status => vec![command("status")],
            Tool::Ltx => vec![command("ltx")],
            Tool::Restore => vec![command("restore")],
            Tool::Reset => vec![command("reset")],
            Tool::Version => vec![version()],
        }
    }

    fn configuration(&self, own: &ConfigArgs) -> Vec<String> {
        let mut typed = Vec::new();
        if let Some(config) = self.given.get(CONFIG.name).or(own.config.as_ref()) {
            typed.push(format!("-config={config}"));
        }
        if own.no_expand_env {
            typed.push("-no-expand-env".to_owned());
        }
        typed
    }

    fn flags(&self) -> impl Iterator<Item = String> {
        let flags =
            self.tool.parameters().iter().filter(|it| !["path", "config"].contains(&it.name));
        flags.filter_map(|it| {
            let value = self.given.get(it.name)?;
            Some(format!("-{}={value}", it.name.replace('_', "-")))
        })
    }
}

impl Told {
    fn add(&mut self, ran: io::Result<(bool, String)>) {
        let (is_done, text) =
            ran.unwrap_or_else(|error| (false, format!("cannot run {}: {error}", program::name())));
        self.is_done &= is_done;
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text += &text;
    }
}

/// Runs this program. What it printed, and whether it went well.
fn run(arguments: &[String]) -> io::Result<(bool, String)> {
    let mut command = Command::new(ourselves()?);
    command.arg0(program::name()).args(arguments).stdin(Stdio::null());
    let ran = command.output()?;
    let mut text = String::from_utf8_lossy(&ran.stdout).into_owned();
    text += &String::from_utf8_lossy(&ran.stderr);
    if let (false, Some(code)) = (ran.status.success(), ran.status.code()) {
        text += &format!("exit code {code}\n");
    }
    Ok((ran.status.success(), text))
}

/// The very program that runs, even if its file was replaced meanwhile.
fn ourselves() -> io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() { Ok(running.to_owned()) } else { std::env::current_exe() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(name: &str, arguments: Value, all: bool) -> Result<Call, String> {
        Call::read(&json!({"name": name, "arguments": arguments}), all)
    }

    fn typed(name: &str, arguments: Value, own: &ConfigArgs) -> Vec<String> {
        let call = read(name, arguments, true).unwrap();
        call.commands(own).iter().map(|it| it.join(" ")).collect()
    }

    #[test]
    fn calls_become_commands() {
        let own = ConfigArgs { config: Some("/etc/l.yml".into()), no_expand_env: false };
        assert_eq!(
            typed("litestream_info", json!({}), &own),
            ["version", "databases -config=/etc/l.yml", "status -config=/etc/l.yml"]
        );
        assert_eq!(
            typed("litestream_ltx", json!({"path": "-x", "config": "other"}), &own),
            ["ltx -config=other -- -x"]
        );
        let arguments = json!({"path": "/a.db", "o": "/b.db", "parallelism": "2",
                               "if_db_not_exists": true, "if_replica_exists": false});
        assert_eq!(
            typed("litestream_restore", arguments, &own),
            ["restore -config=/etc/l.yml -o=/b.db -parallelism=2 -if-db-not-exists=true \
              -if-replica-exists=false -- /a.db"]
        );
        let as_it_is = ConfigArgs { config: None, no_expand_env: true };
        assert_eq!(
            typed("litestream_reset", json!({"path": "/a.db"}), &as_it_is),
            ["reset -no-expand-env -- /a.db"]
        );
        let url = json!({"path": "file:///backup", "o": "b.db"});
        assert_eq!(typed("litestream_restore", url, &own), ["restore -o=b.db -- file:///backup"]);
    }

    #[test]
    fn without_a_token_nothing_changes_and_nothing_else_is_read() {
        for (name, arguments) in [
            ("litestream_restore", json!({"path": "/a.db"})),
            ("litestream_reset", json!({"path": "/a.db"})),
            ("litestream_ltx", json!({"path": "s3://bucket/a"})),
            ("litestream_info", json!({"config": "/etc/shadow"})),
        ] {
            assert!(read(name, arguments.clone(), true).is_ok(), "{name}");
            let refused = read(name, arguments, false).unwrap_err();
            assert!(refused.ends_with("needs an mcp-token in the configuration"), "{refused}");
        }
        assert!(read("litestream_ltx", json!({"path": "/a.db"}), false).is_ok());
        for tool in Tool::ALL {
            assert!(tool.described(false)["inputSchema"]["properties"]["config"].is_null());
        }
    }

    #[test]
    fn what_is_not_understood_is_told() {
        let told = |name, arguments| read(name, arguments, true).unwrap_err();
        assert_eq!(told("litestream_rm", json!({})), "there is no tool \"litestream_rm\"");
        assert_eq!(told("litestream_ltx", json!({})), "litestream_ltx needs path");
        assert_eq!(told("litestream_ltx", json!({"path": ""})), "litestream_ltx needs path");
        assert_eq!(told("litestream_ltx", json!({"path": 1})), "path: 1 is not a value for it");
        assert_eq!(
            told("litestream_version", json!({"verbose": true})),
            "litestream_version has no parameter \"verbose\""
        );
    }
}
