//! Restores every TXID of a replica and asks the oracle about each.

use std::fmt;
use std::fs;

use crate::oracle::{Mismatch, Oracle};
use crate::replica::Replica;
use crate::scratch::Scratch;
use crate::tool::Tool;

/// What a sweep found.
#[derive(Debug, Default)]
pub struct Sweep {
    /// How many TXIDs were restored.
    pub txids: usize,
    /// Those whose restore is no state that was ever committed.
    pub wrong: Vec<(u64, Mismatch)>,
    /// The transaction that the last TXID holds, if it is right.
    pub last: Option<u64>,
}

impl Sweep {
    /// Fails the test unless every TXID was right and the last one holds transaction `n`.
    pub fn expect_all_right(&self, n: u64) {
        assert!(self.txids > 0, "the replica is empty");
        assert!(self.wrong.is_empty(), "{self}");
        assert_eq!(self.last, Some(n), "the last TXID's transaction; {self}");
    }
}

impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} TXIDs restore wrongly", self.wrong.len(), self.txids)?;
        for (txid, mismatch) in &self.wrong {
            write!(f, "\n  TXID {txid:016x} {mismatch}")?;
        }
        Ok(())
    }
}

/// Restores every TXID with `tool`.
pub fn sweep(tool: &Tool, replica: &Replica, oracle: &mut Oracle) -> Sweep {
    let txids = replica.txids().into_iter().collect::<Vec<_>>();
    sweep_of(tool, replica, oracle, &txids)
}

/// Restores some TXIDs, given in ascending order.
pub fn sweep_of(tool: &Tool, replica: &Replica, oracle: &mut Oracle, txids: &[u64]) -> Sweep {
    let scratch = Scratch::new("sweep");
    let output = scratch.path("db");
    let mut found = Sweep { txids: txids.len(), ..Sweep::default() };
    let mut before = 0;
    for &txid in txids {
        found.last = None;
        let restored = tool.restore(replica, Some(txid), &output).map_err(Mismatch::NotRestored);
        match restored.and_then(|()| oracle.check_file(&output)) {
            Ok(n) if n < before => found.wrong.push((txid, Mismatch::Backwards { n, before })),
            Ok(n) => {
                found.last = Some(n);
                before = n;
            }
            Err(mismatch) => found.wrong.push((txid, mismatch)),
        }
        let _ = fs::remove_file(&output);
    }
    found
}
