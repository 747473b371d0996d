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

type Input = Box<dyn Read + Send>;
type Source = Decoder<BufReader<Input>>;

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
        let input = open(source, nearest(source, local, storage)?)?;
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

/// The first of these that is damaged in storage, and how.
pub(crate) fn find_damaged(
    sources: &[Object],
    storage: &dyn Storage,
) -> Result<Option<(Object, Error)>, Error> {
    for source in sources {
        match read_through(source, storage) {
            Err(error) if error.is_content() => return Ok(Some((*source, error))),
            read => read?,
        }
    }
    Ok(None)
}

fn read_through(source: &Object, storage: &dyn Storage) -> Result<(), Error> {
    let mut input = open(source, storage.open(source.level, source.txids, 0)?)?;
    let mut page = vec![0; input.header().page_size.bytes()];
    while input.next_page(&mut page).map_err(|error| damaged(source, error))?.is_some() {}
    input.finish().map(|_| ()).map_err(|error| damaged(source, error))
}

/// The file here, if it is the one that was stored; else the stored one.
fn nearest(source: &Object, local: &Local, storage: &dyn Storage) -> Result<Input, Error> {
    let path = local.path(source.level, source.txids);
    let here = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
    Ok(match here {
        Ok((size, file)) if size == source.size => Box::new(file),
        _ => storage.open(source.level, source.txids, 0)?,
    })
}

fn open(source: &Object, input: Input) -> Result<Source, Error> {
    let decoder = Decoder::new(BufReader::with_capacity(BUFFER, input))
        .map_err(|error| damaged(source, error))?;
    let found: Header = *decoder.header();
    if found.txids != source.txids {
        let (object, found) = (source.to_string(), found.txids);
        return Err(Error::Misnamed { object, found });
    }
    Ok(decoder)
}

/// What a source cannot be read for. That it did not come is no damage.
fn damaged(source: &Object, error: ltx::Error) -> Error {
    match error {
        ltx::Error::Io(error) => storage::Error::from_io(source.to_string(), error).into(),
        error => Error::Rotten { object: source.to_string(), source: error },
    }
}
