//! The size of the binary as shipped, and whether it needs anything else to run.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::MB;
use crate::ground::Ground;
use crate::table::{Reach, Row, Series};

pub(super) fn run(ground: &Ground) -> Result<Vec<Row>> {
    let (mut size, mut linked) = (Series::default(), Series::default());
    let place = ground.place()?;
    for program in ground.programs() {
        let stripped = place.restored();
        fs::copy(&program.path, &stripped)?;
        // Without a `strip` on the machine the binary counts as it is.
        let _ = Command::new("strip").arg(&stripped).status();
        size.push(program.who, fs::metadata(&stripped)?.len() as f64 / MB);
        linked.push(program.who, if is_static(&stripped)? { 1.0 } else { 0.0 });
    }
    Ok(vec![
        Row::new("binary, stripped", "MB", size).reach(Reach::AtMost(15.0)),
        Row::new("it is static", "1 = yes", linked),
    ])
}

/// Whether a little-endian 64-bit ELF file names no dynamic loader (a `PT_INTERP` segment).
fn is_static(path: &Path) -> Result<bool> {
    const PT_INTERP: [u8; 4] = [3, 0, 0, 0];
    let bytes = fs::read(path)?;
    let short = |at: usize| -> Option<usize> {
        Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?).into())
    };
    let table = bytes.get(32..40).and_then(|b| Some(u64::from_le_bytes(b.try_into().ok()?)));
    let (table, entry, count) = (
        table.context("not an ELF file")? as usize,
        short(54).context("not an ELF file")?,
        short(56).context("not an ELF file")?,
    );
    let types = (0..count).map(|i| bytes.get(table + i * entry..table + i * entry + 4));
    Ok(!types.flatten().any(|kind| kind == PT_INTERP))
}
