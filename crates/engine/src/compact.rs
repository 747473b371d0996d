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

/// Files of one level that become one of the next.
#[derive(Clone, Copy)]
pub(crate) struct Compaction<'a> {
    /// Oldest first. Those of another page size than the first end the list: they cannot be merged,
    /// and are next.
    pub(crate) sources: &'a [Object],
    pub(crate) level: Level,
    pub(crate) local: &'a Local,
    pub(crate) storage: &'a dyn Storage,
    /// What is damaged on that level, and may be replaced.
    pub(crate) damaged: &'a [TxidRange],
}

impl Compaction<'_> {
    /// Makes the file and stores it. What is here too is read here.
    pub(crate) fn run(&self) -> Result<Object, Error> {
        self.merge(|source| self.nearest(source))
    }

    /// The same, but what is here is read through before it is used.
    pub(crate) fn run_carefully(&self) -> Result<Object, Error> {
        self.merge(|source| match self.is_sound_here(source) {
            true => self.nearest(source),
            false => self.stored(source),
        })
    }

    fn merge(&self, input_of: impl Fn(&Object) -> Result<Input, Error>) -> Result<Object, Error> {
        let Compaction { sources, level, local, storage, damaged } = *self;
        let mut inputs: Vec<Source> = Vec::with_capacity(sources.len());
        for source in sources {
            let input = open(source, input_of(source)?)?;
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
        if bytes > LOCAL_LIMIT || damaged.contains(&txids) {
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

    /// The first source that is damaged wherever it is, and how.
    pub(crate) fn find_damaged(&self) -> Result<Option<(Object, Error)>, Error> {
        for source in self.sources.iter().filter(|source| !self.is_sound_here(source)) {
            match read_through(source, self.storage) {
                Err(error) if error.is_content() => return Ok(Some((*source, error))),
                read => read?,
            }
        }
        Ok(None)
    }

    /// The file here, if it is the one that was stored; else the stored one.
    fn nearest(&self, source: &Object) -> Result<Input, Error> {
        match self.here(source) {
            Some(file) => Ok(Box::new(file)),
            None => self.stored(source),
        }
    }

    fn here(&self, source: &Object) -> Option<File> {
        let file = File::open(self.local.path(source.level, source.txids)).ok()?;
        file.metadata().is_ok_and(|it| it.len() == source.size).then_some(file)
    }

    fn is_sound_here(&self, source: &Object) -> bool {
        let name = (source.level, source.txids);
        self.here(source).is_some() && self.local.verify(name, |_, _| ()).is_ok()
    }

    fn stored(&self, source: &Object) -> Result<Input, Error> {
        Ok(self.storage.open(source.level, source.txids, 0)?)
    }
}

/// Whether a file here may be what made it fail.
pub(crate) fn is_perhaps_local(error: &Error) -> bool {
    !matches!(error, Error::Storage(error) if !error.is_disk_failure())
}

/// Reads a stored file to its end, and checks it.
pub(crate) fn read_through(source: &Object, storage: &dyn Storage) -> Result<(), Error> {
    let mut input = open(source, storage.open(source.level, source.txids, 0)?)?;
    let mut page = vec![0; input.header().page_size.bytes()];
    while input.next_page(&mut page).map_err(|error| damaged(source, error))?.is_some() {}
    input.finish().map(|_| ()).map_err(|error| damaged(source, error))
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
