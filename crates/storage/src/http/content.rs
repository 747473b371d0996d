//! The body of a request, handed over in pieces, so that a stuck upload is noticed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

/// Bytes that are handed over at once.
const PIECE: usize = 64 * 1024;
/// How often is looked, in the time of a silence that is too long.
pub(super) const LOOKS: u32 = 4;

/// The body of a request.
#[derive(Debug)]
pub(crate) enum Content {
    /// All of it.
    Whole(Bytes),
    /// What somebody else feeds, however much that will be. It cannot be sent again.
    Fed(Fed),
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Content {
        Content::Whole(bytes)
    }
}

/// The receiving end of a [`Feeder`].
#[derive(Debug)]
pub(crate) struct Fed(mpsc::Receiver<Food>);

/// Feeds a body part by part. Dropped before [`Feeder::finish`], it breaks the request off.
#[derive(Debug)]
pub(crate) struct Feeder(mpsc::Sender<Food>);

#[derive(Debug)]
enum Food {
    /// Bytes, and whom to tell once they are handed over.
    Part(Bytes, oneshot::Sender<()>),
    End,
}

/// The request takes no more: it has ended, well or badly.
#[derive(Debug)]
pub(crate) struct Gone;

/// A body that is fed.
pub(crate) fn feed() -> (Feeder, Content) {
    let (feeder, fed) = mpsc::channel(1);
    (Feeder(feeder), Content::Fed(Fed(fed)))
}

impl Feeder {
    /// Waits until the connection has taken these bytes.
    pub(crate) async fn give(&self, bytes: Bytes) -> Result<(), Gone> {
        let (taken, is_taken) = oneshot::channel();
        self.0.send(Food::Part(bytes, taken)).await.map_err(|_| Gone)?;
        is_taken.await.map_err(|_| Gone)
    }

    /// That was all of it.
    pub(crate) async fn finish(self) -> Result<(), Gone> {
        self.0.send(Food::End).await.map_err(|_| Gone)
    }
}

/// Tells whether the other side still takes what it is given.
#[derive(Debug, Default)]
pub(super) struct Progress {
    taken: AtomicUsize,
    /// Whether it is we who have nothing to give.
    hungry: AtomicBool,
    /// How many looks in a row saw nothing taken, at most.
    quietest: AtomicU32,
}

impl Progress {
    /// Returns once nothing was taken for too long though there was something, or all was taken
    /// and nothing came of it.
    pub(super) async fn stuck(&self, silence: Duration) {
        let (mut quiet, mut before) = (0, 0);
        while quiet < LOOKS {
            sleep(silence / LOOKS).await;
            let now = self.taken.load(Ordering::Relaxed);
            let waits = now == before && !self.hungry.load(Ordering::Relaxed);
            quiet = if waits { quiet + 1 } else { 0 };
            self.quietest.fetch_max(quiet, Ordering::Relaxed);
            before = now;
        }
    }

    /// In how many of [`LOOKS`] it was quiet, at the worst.
    pub(super) fn quietest(&self) -> u32 {
        self.quietest.load(Ordering::Relaxed)
    }
}

/// What is left of a body.
struct Rest {
    piecemeal: Bytes,
    /// Whom to tell once that is gone.
    taken: Option<oneshot::Sender<()>>,
    fed: Option<Fed>,
    progress: Arc<Progress>,
}

impl Content {
    /// The length, if it is known.
    pub(super) fn length(&self) -> Option<usize> {
        match self {
            Content::Whole(bytes) => Some(bytes.len()),
            Content::Fed(_) => None,
        }
    }

    /// The pieces, each noted as it is taken.
    pub(super) fn pieces(
        self,
        progress: Arc<Progress>,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let (piecemeal, fed) = match self {
            Content::Whole(bytes) => (bytes, None),
            Content::Fed(fed) => (Bytes::new(), Some(fed)),
        };
        let rest = Rest { piecemeal, taken: None, fed, progress };
        stream::try_unfold(rest, |mut rest| async move {
            let piece = rest.next().await?;
            Ok(piece.map(|piece| (piece, rest)))
        })
    }
}

impl Rest {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while self.piecemeal.is_empty() {
            if let Some(taken) = self.taken.take() {
                let _ = taken.send(());
            }
            let Some(Fed(fed)) = &mut self.fed else { return Ok(None) };
            self.progress.hungry.store(true, Ordering::Relaxed);
            let food = fed.recv().await;
            self.progress.hungry.store(false, Ordering::Relaxed);
            match food {
                Some(Food::Part(bytes, taken)) => {
                    (self.piecemeal, self.taken) = (bytes, Some(taken));
                }
                Some(Food::End) => self.fed = None,
                None => return Err(io::Error::other("the upload was given up")),
            }
            self.progress.taken.fetch_add(1, Ordering::Relaxed);
        }
        self.progress.taken.fetch_add(1, Ordering::Relaxed);
        Ok(Some(self.piecemeal.split_to(self.piecemeal.len().min(PIECE))))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;
    use crate::remote::block_on;

    #[test]
    fn what_is_fed_comes_out_in_pieces_and_ends_only_if_it_was_finished() {
        block_on(async {
            for finished in [true, false] {
                let (feeder, content) = feed();
                let eater = tokio::spawn(content.pieces(Arc::default()).collect::<Vec<_>>());
                feeder.give(Bytes::from(vec![1; PIECE + 1])).await.expect("a part");
                feeder.give(Bytes::from_static(b"2")).await.expect("a part");
                match finished {
                    true => feeder.finish().await.expect("the end"),
                    false => drop(feeder),
                }
                let pieces = eater.await.expect("join");
                let lengths: Vec<_> = pieces.iter().flatten().map(Bytes::len).collect();
                assert_eq!(lengths, [PIECE, 1, 1]);
                assert_eq!(pieces.iter().all(Result::is_ok), finished, "{pieces:?}");
            }
            let (feeder, content) = feed();
            drop(content);
            feeder.give(Bytes::from_static(b"1")).await.expect_err("nobody eats");
            Ok(())
        })
        .expect("no error");
    }

    #[test]
    fn only_the_other_side_is_stuck() {
        const SILENCE: Duration = Duration::from_millis(50);
        block_on(async {
            let progress = Arc::new(Progress::default());
            let is_stuck = || tokio::time::timeout(SILENCE * 20, progress.stuck(SILENCE));
            let (feeder, content) = feed();
            let mut pieces = Box::pin(content.pieces(Arc::clone(&progress)));
            let next = tokio::spawn(async move { (pieces.next().await.is_some(), pieces) });
            is_stuck().await.expect_err("it waits for us");
            let give = tokio::spawn(async move { feeder.give(Bytes::from_static(b"1")).await });
            let (came, pieces) = next.await.expect("join");
            assert!(came);
            is_stuck().await.expect("it does not ask for more");
            drop(pieces);
            give.await.expect("join").expect_err("it never took all");
            Ok(())
        })
        .expect("no error");
    }
}
