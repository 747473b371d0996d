//! A large file to an SFTP server and back, beside `sftp` with the same file and server.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use ltx::{Level, Timestamp, Txid, TxidRange};
use storage::{Environment, Options, Url};
use testkit::server::{Kind, Server};

use super::MB;
use crate::ground::Ground;
use crate::program::Who;
use crate::table::{Reach, Row, Series};

#[derive(Default)]
struct Figures {
    upload: Series,
    synced: Series,
    download: Series,
}

pub(super) fn run(ground: &Ground) -> Result<Vec<Row>> {
    let Some(server) = Server::start(Kind::Sftp) else { return Ok(Vec::new()) };
    let place = ground.place()?;
    let file = place.restored();
    fs::copy(ground.large()?, &file)?;
    let mut figures = Figures::default();
    for run in 0..ground.runs {
        // Who goes second profits from, or pays for, what the first left behind.
        if run % 2 == 1 {
            figures.theirs(&server, &file)?;
        }
        figures.ours(&server, &file, run == 0)?;
        if run % 2 == 0 {
            figures.theirs(&server, &file)?;
        }
    }
    Ok(figures.rows(fs::metadata(&file)?.len()))
}

impl Figures {
    fn ours(&mut self, server: &Server, file: &Path, verify: bool) -> Result<()> {
        let directory = server.directory().join("sftp/data").join(Server::fresh_name());
        let url: Url = format!("sftp://sftptest@{}{}", server.host, directory.display()).parse()?;
        let options: Options = options(server)?.into_iter().collect();
        let storage = url.storage(&options, &Environment::default())?;
        let txids = TxidRange { min: Txid::FIRST, max: Txid::FIRST };
        rustix::fs::sync();
        let began = Instant::now();
        storage.put_file(Level::SNAPSHOT, txids, Timestamp::from_millis(0), file)?;
        let took = began.elapsed().as_secs_f64();
        self.upload.push(Who::Brooklet, took);
        self.synced.push(Who::Brooklet, took);
        let began = Instant::now();
        let mut object = storage.open(Level::SNAPSHOT, txids, 0)?;
        let size = io::copy(&mut object, &mut io::sink())?;
        self.download.push(Who::Brooklet, began.elapsed().as_secs_f64());
        ensure!(size == fs::metadata(file)?.len(), "{size} bytes came back");
        if verify {
            same(&mut storage.open(Level::SNAPSHOT, txids, 0)?, file)?;
        }
        Ok(fs::remove_dir_all(directory)?)
    }

    fn theirs(&mut self, server: &Server, file: &Path) -> Result<()> {
        let there = server.directory().join("sftp/data").join(Server::fresh_name());
        let (file, there) = (file.display(), there.display());
        for (series, command) in [
            (&mut self.upload, format!("put {file} {there}")),
            (&mut self.synced, format!("put -f {file} {there}")),
            (&mut self.download, format!("get {there} /dev/null")),
        ] {
            rustix::fs::sync();
            let began = Instant::now();
            sftp(server, &command)?;
            series.push(Who::Machine, began.elapsed().as_secs_f64());
        }
        Ok(fs::remove_file(there.to_string())?)
    }

    fn rows(self, size: u64) -> Vec<Row> {
        let megabytes = size as f64 / MB;
        vec![
            Row::new(
                format!("upload of {megabytes:.0} MB by SFTP, durable, wall"),
                "s",
                self.synced,
            )
            .limit("sftp put -f"),
            Row::new("the same beside an upload that is not durable", "s", self.upload)
                .reach(Reach::ShareOfMachine(1.3))
                .limit("sftp put"),
            Row::new("its download", "s", self.download).limit("sftp get"),
        ]
    }
}

fn options(server: &Server) -> Result<Vec<(&'static str, String)>> {
    let path = |name: &str| server.directory().join("sftp").join(name);
    Ok(vec![
        ("key-path", path("userkey").display().to_string()),
        ("host-key", fs::read_to_string(path("hostkey.pub"))?),
    ])
}

/// Runs one command of OpenSSH's `sftp`.
fn sftp(server: &Server, command: &str) -> Result<()> {
    let (host, port) = server.host.split_once(':').context("a port")?;
    let key = server.directory().join("sftp/userkey");
    let mut child = Command::new("sftp")
        .args([
            "-q",
            "-b",
            "-",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ])
        .args(["-P", port, "-i"])
        .arg(key)
        .arg(format!("sftptest@{host}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("run sftp")?;
    let mut input = child.stdin.take().context("its input")?;
    writeln!(input, "{command}")?;
    drop(input);
    ensure!(child.wait()?.success(), "sftp: {command} failed");
    Ok(())
}

fn same(object: &mut impl Read, file: &Path) -> Result<()> {
    let mut file = File::open(file)?;
    let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = object.read(&mut ours)?;
        if count == 0 {
            ensure!(file.read(&mut theirs)? == 0, "the object ends early");
            return Ok(());
        }
        file.read_exact(&mut theirs[..count])?;
        ensure!(ours[..count] == theirs[..count], "the object differs");
    }
}
