//! Carrying out a compaction: many files of one level become one of the next.

use std::fs::File;
use std::io::{BufReader, Read, Write};

use ltx::{Decoder, Header, Level, TxidRange};
use storage::{Object, Storage};

use crate::Error;
use crate::local::Local;

/// Read from a source at a time.
const BUFFER: usize = 16 << 10;
/// Larger results go straight to storage, so that they take no room here.
const LOCAL_LIMIT: u64 = 256 << 20;

type Source = Decoder<BufReader<Box<dyn Read + Send>>>;

/// Makes one file of `level` of these, oldest first, and stores it. Files of another page size
/// than the first end the list: they cannot be merged, and are next.
pub(crate) fn compact(
    sources: &[Object],
    level: Level,
    local: &Local,
    storage: &dyn Storage,
) -> Result<Object, Error> {
    let mut inputs: Vec<Source> = Vec::with_capacity(sources.len());
    for source in sources {
        let input = open(source, local, storage)?;
        if inputs.first().is_some_and(|it| it.header().page_size != input.header().page_size) {
            break;
        }
        inputs.push(input);
    }
    let bytes: u64 = sources[..inputs.len()].iter().map(|source| source.size).sum();
    let mut headers = inputs.iter().map(Decoder::header);
    let Some((first, last)) = headers.clone().next().zip(headers.next_back()) else {
        return Err(ltx::Error::NothingToMerge.into());
    };
    let txids = TxidRange { min: first.txids.min, max: last.txids.max };
    let created = last.timestamp;
    if bytes > LOCAL_LIMIT {
        let mut upload = storage.create(level, txids, created)?;
        ltx::merge(inputs, &mut upload)?;
        return Ok(upload.commit()?);
    }
    let place = local.place(level, txids)?;
    let mut merged = ltx::merge(inputs, place.writer()?)?;
    merged.out.flush().map_err(|e| Error::local(place.path(), e))?;
    drop(merged);
    let path = place.path().to_path_buf();
    place.finish(created)?;
    Ok(storage.put_file(level, txids, created, &path)?)
}

/// The file here, if it is the one that was stored; else the stored one.
fn open(source: &Object, local: &Local, storage: &dyn Storage) -> Result<Source, Error> {
    let path = local.path(source.level, source.txids);
    let here = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
    let input: Box<dyn Read + Send> = match here {
        Ok((size, file)) if size == source.size => Box::new(file),
        _ => storage.open(source.level, source.txids, 0)?,
    };
    let damaged = |error: ltx::Error| Error::Rotten { object: source.to_string(), source: error };
    let decoder = Decoder::new(BufReader::with_capacity(BUFFER, input)).map_err(damaged)?;
    let found: Header = *decoder.header();
    if found.txids != source.txids {
        let (object, found) = (source.to_string(), found.txids);
        return Err(Error::Misnamed { object, found });
    }
    Ok(decoder)
}
