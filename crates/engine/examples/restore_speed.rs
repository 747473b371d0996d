//! Times a restore: `restore_speed make DIR MEGABYTES [TAIL]` writes a replica with a snapshot of
//! that size, about 30 % compressible, and TAIL small files after it; `restore_speed run DIR`
//! restores it, and prints the time and the peak of resident memory.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use engine::restore::{self, Request};
use ltx::{
    Encoder, FrameRun, Header, Level, PageSize, Pgno, RollingSum, Tag, Timestamp, Txid, TxidRange,
    page_sum,
};
use storage::{FileStorage, Storage};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["make", directory, megabytes] => make(directory, number(megabytes), 0),
        ["make", directory, megabytes, tail] => make(directory, number(megabytes), number(tail)),
        ["run", directory] => run(directory, restore::default_parallelism()),
        ["run", directory, threads] => run(directory, number(threads) as usize),
        _ => eprintln!("restore_speed make DIR MEGABYTES [TAIL] | run DIR [THREADS]"),
    }
}

fn number(text: &str) -> u32 {
    text.parse().expect("a number")
}

fn make(directory: &str, megabytes: u32, tail: u32) {
    let storage = FileStorage::new(Path::new(directory).join("replica"));
    let size = PageSize::new(4096).expect("page size");
    let pages = megabytes * 256;
    let mut random = fastrand::Rng::with_seed(1);
    let mut page = vec![0; size.bytes()];
    let mut sum = RollingSum::new();
    let numbers = (1..=pages).filter_map(Pgno::new).filter(|pgno| *pgno != size.lock_page());
    for pgno in numbers.clone() {
        fill(&mut page, pgno, 0);
        sum.add(page_sum(pgno, &page));
    }

    let header = |first: u64, last: u64| {
        let txids = TxidRange::new(txid(first), txid(last)).expect("range");
        Header::new(size, pages, txids, Timestamp::from_millis(1_000))
    };
    let mut snapshot = header(1, 1);
    snapshot.set_tag(Tag { sum: sum.checksum(), lineage: 1 });
    let upload = storage.create(Level::SNAPSHOT, snapshot.txids, snapshot.timestamp);
    let mut encoder = Encoder::new(upload.expect("create"), snapshot).expect("encoder");
    let mut run = FrameRun::new(size);
    for pgno in numbers {
        fill(&mut page, pgno, 0);
        run.push(pgno, &page).expect("push");
        if run.bytes().len() > 1 << 20 {
            encoder.append(&run).expect("append");
            run.clear();
        }
    }
    encoder.append(&run).expect("append");
    encoder.finish().expect("finish").0.commit().expect("commit");

    let mut version = vec![0; pages as usize + 1];
    for number in 2..u64::from(tail) + 2 {
        let pgno = Pgno::new(random.u32(1..=pages.min(10_000))).expect("page");
        let old = &mut version[pgno.get() as usize];
        fill(&mut page, pgno, *old);
        sum.remove(page_sum(pgno, &page));
        *old = number;
        fill(&mut page, pgno, number);
        sum.add(page_sum(pgno, &page));
        let mut header = header(number, number);
        header.set_tag(Tag { sum: sum.checksum(), lineage: 1 });
        let mut encoder = Encoder::new(Vec::new(), header).expect("encoder");
        encoder.write_page(pgno, &page).expect("page");
        let (bytes, _) = encoder.finish().expect("finish");
        // Not through the storage, which would sync each one.
        let path = storage.path(Level::L0, header.txids);
        std::fs::create_dir_all(path.parent().expect("directory")).expect("directory");
        std::fs::File::create(path).and_then(|mut file| file.write_all(&bytes)).expect("write");
    }
}

/// 70 % noise that depends on the page and its version, 30 % zeros.
fn fill(page: &mut [u8], pgno: Pgno, version: u64) {
    let noise = page.len() * 7 / 10;
    fastrand::Rng::with_seed(u64::from(pgno.get()) << 32 | version).fill(&mut page[..noise]);
}

fn txid(number: u64) -> Txid {
    Txid::new(number).expect("a TXID is at least 1")
}

fn run(directory: &str, threads: usize) {
    let storage: Arc<dyn Storage> =
        Arc::new(FileStorage::new(Path::new(directory).join("replica")));
    let output = Path::new(directory).join("restored.db");
    let mut request = Request::new(storage, &output);
    request.parallelism = threads;
    request.force = true;
    let start = Instant::now();
    let outcome = restore::run(&request, &Steps(start)).expect("restore");
    let seconds = start.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!("{seconds:.2} s, {} MB, {peak}, {outcome:?}", outcome.bytes >> 20);
}

/// Prints when each step begins.
struct Steps(Instant);

impl restore::Progress for Steps {
    fn step(&self, step: restore::Step) {
        println!("{:6.2} s {step:?}", self.0.elapsed().as_secs_f64());
    }
}
