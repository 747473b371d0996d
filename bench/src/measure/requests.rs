//! What is asked of an S3 server, by kind, and how many bytes go through.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::PATIENCE;
use super::s3::await_whole;
use crate::bucket::Bucket;
use crate::database;
use crate::ground::{Ground, Place};
use crate::program::{Program, Who};
use crate::table::{Row, Series};
use crate::wiretap::Exchange;

/// Commits of the hour.
const COMMITS: u64 = 3600;
/// So much faster than the clock does the hour go by: every interval is divided by it.
const HASTE: u64 = 20;
/// Objects on level 0 that are restored.
const OBJECTS: u64 = 10_000;
/// How long the idle replica is listened to.
const IDLE: Duration = Duration::from_secs(60);

/// Requests of one kind of work.
#[derive(Default)]
struct Work {
    lists: Series,
    gets: Series,
    puts: Series,
    deletes: Series,
    bytes: Series,
}

impl Work {
    fn count(&mut self, who: Who, heard: &[Exchange]) {
        let count = |wanted: &dyn Fn(&Exchange) -> bool| {
            heard.iter().filter(|it| wanted(it)).count() as f64
        };
        let is_list = |it: &Exchange| it.method == "GET" && it.target.contains("list-type");
        self.lists.push(who, count(&is_list));
        let is_get = |it: &Exchange| matches!(&*it.method, "GET" | "HEAD") && !is_list(it);
        self.gets.push(who, count(&is_get));
        let is_delete = |it: &Exchange| it.method == "DELETE" || it.target.contains("?delete");
        self.deletes.push(who, count(&is_delete));
        let is_put = |it: &Exchange| matches!(&*it.method, "PUT" | "POST") && !is_delete(it);
        self.puts.push(who, count(&is_put));
        let bytes: u64 = heard.iter().map(|it| it.up + it.down).sum();
        self.bytes.push(who, bytes as f64 / 1e6);
    }

    fn rows(self, what: &str) -> Vec<Row> {
        vec![
            Row::new(format!("{what}: LIST"), "", self.lists),
            Row::new("GET and HEAD", "", self.gets),
            Row::new("PUT and POST", "", self.puts),
            Row::new("DELETE", "", self.deletes),
            Row::new("bytes both ways", "MB", self.bytes),
        ]
    }
}

pub(super) fn run(ground: &Ground) -> Result<Vec<Row>> {
    let Some(bucket) = Bucket::start()? else { return Ok(Vec::new()) };
    let (mut idle, mut busy) = (Work::default(), Work::default());
    let (mut restore, mut moment) = (Work::default(), Work::default());
    for program in ground.programs() {
        hour(ground, &bucket, program, &mut idle, &mut busy)?;
    }
    if let Some(writer) = ground.program(Who::Brooklet) {
        let place = ground.place()?;
        let (url, middle) = objects(&place, &bucket, writer)?;
        for program in ground.programs() {
            bucket.tap.take();
            program.restore_from(&url, &place.restored(), None)?;
            restore.count(program.who, &bucket.tap.take());
            database::assert_same(&place.database(), &place.restored())?;
            fs::remove_file(place.restored())?;
            program.restore_from(&url, &place.restored(), Some(["-timestamp", &middle]))?;
            moment.count(program.who, &bucket.tap.take());
            fs::remove_file(place.restored())?;
        }
    }
    let mut rows = idle.rows("a minute beside an idle database, requests");
    rows.extend(busy.rows("one commit a second for an hour (compressed), requests"));
    rows.extend(restore.rows("restore of 10,000 objects, requests"));
    rows.extend(moment.rows("the same at a moment, requests"));
    Ok(rows)
}

fn hour(
    ground: &Ground,
    bucket: &Bucket,
    program: &Program,
    idle: &mut Work,
    busy: &mut Work,
) -> Result<()> {
    let place = ground.place()?;
    let application = database::create_small(&place.database())?;
    let faster = |seconds: u64| format!("{}ms", seconds * 1000 / HASTE);
    let config = format!(
        "sync-interval: {}\nlevels: [{{interval: {}}}, {{interval: {}}}, {{interval: {}}}]\n\
         l0-retention: {}\nsnapshot: {{interval: {}, retention: {}}}\n",
        faster(1),
        faster(30),
        faster(300),
        faster(3600),
        faster(300),
        faster(86400),
        faster(86400)
    );
    let replicator = start(&place, bucket, program, &config)?;
    await_whole(bucket, &replicator)?;
    bucket.tap.take();
    for _ in 0..COMMITS {
        application.execute("INSERT INTO event (at, note) VALUES (0, 'x')", [])?;
        std::thread::sleep(Duration::from_millis(1000 / HASTE));
    }
    busy.count(program.who, &bucket.tap.take());
    replicator.stop()?;
    // Idle, with the intervals as they are.
    let replicator = start(&place, bucket, program, "")?;
    await_whole(bucket, &replicator)?;
    std::thread::sleep(Duration::from_secs(40));
    bucket.tap.take();
    std::thread::sleep(IDLE);
    idle.count(program.who, &bucket.tap.take());
    replicator.stop()?;
    Ok(())
}

fn start(
    place: &Place,
    bucket: &Bucket,
    program: &Program,
    more: &str,
) -> Result<crate::process::Running> {
    let (db, url) = (place.database(), bucket.fresh_url());
    let config = db.with_file_name("config.yml");
    let text = format!("{more}dbs: [{{path: {}, replica: {{url: \"{url}\"}}}}]\n", db.display());
    fs::write(&config, text)?;
    let _ = fs::remove_dir_all(db.with_file_name(".app.db-litestream"));
    program.replicate_all(&config, &db.with_extension("log"), None)
}

/// A replica of so many objects that nobody has compacted, and a moment in the middle of them.
fn objects(place: &Place, bucket: &Bucket, program: &Program) -> Result<(String, String)> {
    let application = database::create_small(&place.database())?;
    let url = bucket.fresh_url();
    let config = place.database().with_file_name("config.yml");
    let text = format!(
        "sync-interval: 1ms\nlevels: [{{interval: 24h}}]\ndbs: [{{path: {}, replica: {{url: \"{url}\"}}}}]\n",
        place.database().display()
    );
    fs::write(&config, text)?;
    let replicator =
        program.replicate_all(&config, &place.database().with_extension("log"), None)?;
    await_whole(bucket, &replicator)?;
    let (started, mut stored, mut middle) = (Instant::now(), 0, None);
    while stored < OBJECTS {
        ensure!(started.elapsed() < PATIENCE * 5, "too slow: {stored} objects");
        application.execute("INSERT INTO event (at, note) VALUES (0, hex(randomblob(50)))", [])?;
        std::thread::sleep(Duration::from_millis(3));
        if middle.is_none() && stored > OBJECTS / 2 {
            middle = Some(jiff::Timestamp::now().to_string());
        }
        stored += bucket.tap.take().iter().filter(|it| it.target.contains("/0000/")).count() as u64;
    }
    replicator.stop()?;
    Ok((url, middle.context("a moment in the middle")?))
}
