//! Runs the program in a folder of its own.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tempfile::TempDir;

/// A folder, and the program working in it.
pub(crate) struct Folder(TempDir);

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Folder {
    pub(crate) fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// The program, ready to run: nothing of our environment decides what it does. The argument
    /// `@name` stands for the URL of what has that name here.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let args = args.iter().map(|arg| match arg.strip_prefix('@') {
            Some(name) => format!("file://{}", self.path(name).display()),
            None => (*arg).to_owned(),
        });
        let mut command = Command::new(env!("CARGO_BIN_EXE_brooklet"));
        command.args(args).current_dir(self.0.path()).stdin(Stdio::null()).env("TZ", "UTC");
        for variable in ["LITESTREAM_CONFIG", "LOG_LEVEL", "LITESTREAM_LOG_LEVEL"] {
            command.env_remove(variable);
        }
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap(), self)
    }

    /// Runs it with stdout and stderr on a terminal, and returns what the terminal was sent.
    pub(crate) fn run_on_a_terminal(&self, args: &[&str]) -> (Option<i32>, String) {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
        let screen = File::options().read(true).write(true).open(name).unwrap();
        let mut child = {
            let mut command = self.command(args);
            command.stdout(screen.try_clone().unwrap()).stderr(screen).spawn().unwrap()
        };
        // Once the other side is closed everywhere, reading ends with an error.
        let mut sent = Vec::new();
        let _ = File::from(terminal).read_to_end(&mut sent);
        (child.wait().unwrap().code(), String::from_utf8(sent).unwrap())
    }

    /// Starts it and lets it run.
    pub(crate) fn start(&self, args: &[&str]) -> Running<'_> {
        let child =
            self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Running { child: Some(child), folder: self }
    }

    /// A database with a table of numbers, open as its application has it.
    pub(crate) fn database(&self, name: &str) -> Connection {
        let database = Connection::open(self.path(name)).unwrap();
        database.pragma_update(None, "journal_mode", "wal").unwrap();
        database.execute_batch("CREATE TABLE numbers (n INTEGER PRIMARY KEY)").unwrap();
        database
    }

    /// The same database, whether it is there already or not.
    pub(crate) fn database_or_open(&self, name: &str) -> Connection {
        match self.path(name).exists() {
            true => Connection::open(self.path(name)).unwrap(),
            false => self.database(name),
        }
    }

    /// What the database at `name` holds.
    pub(crate) fn numbers(&self, name: &str) -> Vec<i64> {
        assert!(self.path(name).exists(), "{name} is not there");
        let database = Connection::open(self.path(name)).unwrap();
        let mut query = database.prepare("SELECT n FROM numbers ORDER BY n").unwrap();
        query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }
}

/// Commits numbers one by one.
pub(crate) fn add(database: &Connection, numbers: std::ops::RangeInclusive<i64>) {
    for n in numbers {
        database.execute("INSERT INTO numbers VALUES (?)", [n]).unwrap();
    }
}

impl Ran {
    fn of(output: Output, folder: &Folder) -> Ran {
        // A folder's name differs from run to run.
        let folder = folder.0.path().canonicalize().unwrap();
        let text =
            |bytes| String::from_utf8(bytes).unwrap().replace(&*folder.to_string_lossy(), "/here");
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Expects success.
    pub(crate) fn ok(self) -> Ran {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// Expects an exit code and nothing but this on stderr.
    pub(crate) fn fails(self, code: i32, stderr: &str) {
        assert_eq!((self.code, self.stderr.trim_end()), (Some(code), stderr));
        assert_eq!(self.stdout, "");
    }
}

/// The program while it runs. It is killed if a test forgets it.
pub(crate) struct Running<'a> {
    child: Option<Child>,
    folder: &'a Folder,
}

impl<'a> Running<'a> {
    /// One that was started.
    pub(crate) fn of(child: Child, folder: &'a Folder) -> Running<'a> {
        Running { child: Some(child), folder }
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        self.child.as_mut().unwrap()
    }

    pub(crate) fn signal(&mut self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(self.child());
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(crate) fn wait(mut self) -> Ran {
        Ran::of(self.child.take().unwrap().wait_with_output().unwrap(), self.folder)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits for something that another process does.
pub(crate) fn until(what: &str, done: impl FnMut() -> bool) {
    assert!(comes(done), "in vain: {what}");
}

/// The same, if what came instead is to be told.
pub(crate) fn comes(mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// How many files a replica's newest level holds.
pub(crate) fn files(replica: &Path) -> usize {
    let complete =
        |name: &std::ffi::OsStr| Path::new(name).extension().is_some_and(|it| it == "ltx");
    std::fs::read_dir(replica.join("ltx/0"))
        .map_or(0, |files| files.flatten().filter(|file| complete(&file.file_name())).count())
}
