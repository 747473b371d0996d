use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

const SOON: Duration = Duration::from_secs(60);

/// Tells that it runs, and waits outside until it may come back.
struct Waits {
    bell: Mutex<Option<Bell>>,
    began: Sender<bool>,
    back: Mutex<Receiver<()>>,
}

impl Job for Waits {
    fn run(&self) -> Next {
        let bell = self.bell.lock().expect("no panic").clone().expect("a name");
        let waited = bell.outside(|| {
            self.began.send(true).expect("a listener");
            self.back.lock().expect("no panic").recv().expect("an answer");
        });
        if waited.is_none() {
            self.began.send(false).expect("a listener");
        }
        Next::WhenWoken
    }
}

struct Tells(Sender<()>);

impl Job for Tells {
    fn run(&self) -> Next {
        self.0.send(()).expect("a listener");
        Next::WhenWoken
    }
}

#[test]
fn who_waits_outside_keeps_nobody_from_its_turn() {
    let scheduler = Scheduler::start("test", 1).expect("a thread");
    let (began, begun) = channel();
    let mut answers = Vec::new();
    for number in 0..=MOST_OUTSIDE {
        let (answer, back) = channel();
        answers.push(answer);
        let (bell, back) = (Mutex::default(), Mutex::new(back));
        let job = Arc::new(Waits { bell, began: began.clone(), back });
        scheduler.hire_named(Arc::clone(&job) as _, |bell| {
            *job.bell.lock().expect("no panic") = Some(bell.clone());
        });
        let is_outside = begun.recv_timeout(SOON).expect("it has its turn");
        assert_eq!(is_outside, number < MOST_OUTSIDE, "{number}");
    }
    let (told, tells) = channel();
    let bell = scheduler.hire(Arc::new(Tells(told)));
    tells.recv_timeout(SOON).expect("so has this one");
    answers.iter().for_each(|answer| answer.send(()).unwrap_or_default());
    let began = Instant::now();
    // The threads that came in between go as they are woken, and nobody's wake is lost with them.
    while scheduler.waker.lock().threads.len() > 1 {
        bell.ring();
        tells.recv_timeout(SOON).expect("another turn");
        assert!(began.elapsed() < SOON, "the threads stay");
    }
    bell.ring();
    tells.recv_timeout(SOON).expect("the last one goes on");
    scheduler.stop();
}
