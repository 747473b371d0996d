//! Where the history of a database goes on: each replica is looked at, and all agree.

use ltx::{Level, Txid, TxidRange};
use storage::{Object, Storage};

use super::Database;
use crate::Error;
use crate::replica::Replica;
use crate::start::{self, Newest, Remote, Start};

type Decided = (Vec<Option<Remote>>, Start, Vec<bool>);

impl Database {
    /// What each replica holds, where the history goes on, and which replicas cannot follow it. A
    /// replica that does not answer holds nobody else up.
    pub(super) fn look_and_decide(&self, here: &[Object]) -> Result<Decided, Error> {
        let decide = || {
            let mut remotes = self.look(here.is_empty())?;
            let (start, holes) = self.start(here, &mut remotes)?;
            Ok((remotes, start, holes))
        };
        match self.shared.capture.get() {
            Some(bell) => bell.outside(decide).ok_or(Error::Turn)?,
            None => decide(),
        }
    }

    /// What each replica holds, as far as it answers. Without local state somebody must.
    fn look(&self, fresh: bool) -> Result<Vec<Option<Remote>>, Error> {
        let mut remotes = Vec::new();
        let mut failure = None;
        for storage in &self.options.replicas {
            remotes.push(match Remote::read(&**storage) {
                Ok(remote) => Some(remote),
                Err(error) => {
                    let then = match fresh {
                        true => "nothing is captured before it can be: there is no local state",
                        false => "capturing goes on",
                    };
                    self.tell_unread(&**storage, &error, then);
                    failure = Some(error);
                    None
                }
            });
        }
        match failure {
            Some(error) if fresh && remotes.iter().all(Option::is_none) => Err(error.into()),
            _ => Ok(remotes),
        }
    }

    fn tell_unread(&self, storage: &dyn Storage, error: &storage::Error, then: &str) {
        let (db, replica) = (self.options.path.display(), storage.url());
        tracing::error!(%db, replica, %error, then, "the replica cannot be read");
    }

    /// Where the history goes on, and which replicas cannot follow it from what is here. One that
    /// does not answer any more is as one that did not.
    fn start(
        &self,
        here: &[Object],
        remotes: &mut [Option<Remote>],
    ) -> Result<(Start, Vec<bool>), Error> {
        let txids: Vec<Txid> = here.iter().map(|object| object.txids.max).collect();
        let mut starts = Vec::new();
        for (remote, uploader) in remotes.iter_mut().zip(&self.uploaders) {
            let start = |remote: &mut Remote| self.start_of(&txids, remote, &uploader.replica);
            let start = remote.as_mut().map(start).transpose()?.flatten();
            if start.is_none() {
                *remote = None;
            }
            starts.push(start);
        }
        let start = match start::combine(&starts, txids.last().copied()) {
            // What it sent last may still come, under the names that we would give next.
            Start::Continue(here)
                if self.options.replicas.iter().any(|it| it.has_other_writer()) =>
            {
                let last = remotes.iter().flatten().filter_map(|remote| remote.last).max();
                let reason = "another wrote to a replica since we did".to_owned();
                Start::Anchor { after: last.max(Some(here)).unwrap_or(here), reason }
            }
            start => start,
        };
        let holes = starts.iter().map(|it| start::is_hole(&start, it.as_ref())).collect();
        for (reason, storage) in starts.iter().zip(&self.options.replicas) {
            if let (Start::Continue(_), Some(Start::Anchor { reason, .. })) = (&start, reason) {
                tracing::warn!(
                    replica = storage.url(),
                    reason,
                    "this replica goes on with a snapshot"
                );
            }
        }
        Ok((start, holes))
    }

    /// Where the history of one replica goes on: as the names say, unless the files behind them say
    /// otherwise. `None` if it does not answer any more.
    fn start_of(
        &self,
        txids: &[Txid],
        remote: &mut Remote,
        replica: &Replica,
    ) -> Result<Option<Start>, Error> {
        let storage = &*replica.storage;
        let start = start::decide(txids, remote.last);
        if !matches!(start, Start::Continue(_)) {
            return Ok(Some(start));
        }
        let damage = self.damaged(txids, remote)?;
        let Some(after) = remote.last.or(txids.last().copied()) else { return Ok(Some(start)) };
        let anchor = |reason| Ok(Some(Start::Anchor { after, reason }));
        if let Some(damage) = damage {
            return anchor(damage);
        }
        let is_ours = !storage.has_other_writer() && start::is_ours(&self.local, remote)?;
        let compared = match start::newest(&self.local, storage, remote) {
            Ok(Newest::Same) => Ok(()),
            Ok(Newest::Other) => {
                let reason = "it holds another history than the local state: is a second program \
                              writing to it?";
                return anchor(reason.to_string());
            }
            Ok(Newest::Damaged(object, damage)) if is_ours => {
                tracing::error!(replica = storage.url(), damage, "its newest file is damaged");
                self.store_again(&object, remote, replica)
            }
            Ok(Newest::Damaged(_, damage)) => {
                let after = txids.last().copied().max(Some(after)).unwrap_or(after);
                return Ok(Some(Start::Anchor { after, reason: damage }));
            }
            Err(error) => Err(error),
        };
        match compared {
            Err(Error::Storage(error)) => {
                self.tell_unread(storage, &error, "capturing goes on");
                return Ok(None);
            }
            compared => compared?,
        }
        let Some(defect) = remote.defect() else { return Ok(Some(start)) };
        tracing::error!(replica = storage.url(), defect, "the replica has a hole; it is healed");
        anchor(format!("the replica cannot be restored: {defect}"))
    }

    /// Puts the file here in the place of a damaged one of the replica. Where that cannot be, a
    /// snapshot has to get restores past it.
    fn store_again(
        &self,
        object: &Object,
        remote: &mut Remote,
        replica: &Replica,
    ) -> Result<(), Error> {
        let storage = &*replica.storage;
        let Object { level, txids, .. } = *object;
        let store = || {
            let header = self.local.verify((level, txids), |_, _| ())?;
            if header.txids != txids {
                return Err(Error::Misnamed { object: object.to_string(), found: header.txids });
            }
            let (path, name) = (self.local.path(level, txids), storage.name(level, txids));
            let create = || storage.create(level, txids, header.timestamp);
            Ok(storage::copy_file(&path, &name, create)?)
        };
        match store() {
            Ok(stored) => {
                tracing::warn!(replica = storage.url(), %object, "it was stored again");
                let same = |it: &&mut Object| (it.level, it.txids) == (level, txids);
                remote.objects.iter_mut().filter(same).for_each(|it| *it = stored);
                replica.mended(stored);
                Ok(())
            }
            Err(Error::Storage(error)) if error.is_passing() => Err(error.into()),
            Err(error) => {
                let then = "a snapshot gets restores past it";
                tracing::error!(replica = storage.url(), %error, then, "it cannot be stored again");
                remote.damaged = Some(*object);
                Ok(())
            }
        }
    }

    /// What is wrong with the local files that the replica lacks, or with the last one.
    fn damaged(&self, here: &[Txid], remote: &Remote) -> Result<Option<String>, Error> {
        let lacking = here.iter().filter(|txid| Some(**txid) > remote.last);
        let captured = lacking.chain(here.last()).map(|it| (Level::L0, TxidRange::single(*it)));
        let snapshots = self.local.snapshots()?;
        let snapshots = snapshots.iter().map(|object| (object.level, object.txids));
        for name in captured.chain(snapshots) {
            match self.local.verify(name, |_, _| ()) {
                Ok(_) => {}
                Err(error @ Error::Damaged { .. }) => return Ok(Some(error.to_string())),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}
