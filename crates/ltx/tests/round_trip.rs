//! What is written can be read, by stream and by ranges.

use ltx::{
    Decoder, Encoder, FileCheck, FrameRun, Header, Index, PageSize, Pgno, Timestamp, Txid,
    TxidRange, decode_frames,
};

type Pages = Vec<(u32, Vec<u8>)>;

fn pages(size: usize, numbers: impl IntoIterator<Item = u32>) -> Pages {
    let fill = |n: u32| (0..size).map(|i| (i as u32 / (n % 7 + 1) * n) as u8).collect();
    numbers.into_iter().map(|n| (n, fill(n))).collect()
}

fn header(size: u32, commit: u32, min: u64, max: u64) -> Header {
    let txids = TxidRange::new(Txid::new(min).unwrap(), Txid::new(max).unwrap()).unwrap();
    Header::new(PageSize::new(size).unwrap(), commit, txids, Timestamp::from_millis(1))
}

fn encode(header: Header, pages: &Pages) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), header).unwrap();
    for (n, page) in pages {
        encoder.write_page(Pgno::new(*n).unwrap(), page).unwrap();
    }
    encoder.finish().unwrap().0
}

fn decode(file: &[u8]) -> ltx::Result<Pages> {
    let mut decoder = Decoder::new(file)?;
    let mut page = vec![0; decoder.header().page_size.bytes()];
    let mut pages = Vec::new();
    while let Some(pgno) = decoder.next_page(&mut page)? {
        pages.push((pgno.get(), page.clone()));
    }
    assert!(decoder.finish()?.index_trusted);
    Ok(pages)
}

fn decode_ranges(file: &[u8], chunk: usize) -> ltx::Result<Pages> {
    let header = Header::decode(file[..100].try_into().unwrap())?;
    let index = Index::parse(file, file.len() as u64)?;
    let mut check = FileCheck::new(&header, &index)?;
    let mut pages = Vec::new();
    for entries in index.entries().chunks(chunk) {
        let range = entries[0].offset as usize..entries[entries.len() - 1].end() as usize;
        let sum = decode_frames(&header, &file[range], entries, |pgno, page| {
            pages.push((pgno.get(), page.to_vec()));
            Ok::<_, ltx::Error>(())
        })?;
        check.add(&sum);
    }
    check.finish()?;
    Ok(pages)
}

#[test]
fn all_page_sizes() {
    for shift in 9..=16 {
        let size = 1 << shift;
        let pages = pages(size as usize, 1..=20);
        let file = encode(header(size, 20, 1, 4), &pages);
        assert_eq!(decode(&file).unwrap(), pages);
        assert_eq!(decode_ranges(&file, 7).unwrap(), pages);
    }
}

#[test]
fn runs_made_apart_give_the_same_file() {
    let pages = pages(4096, (3..400).step_by(3));
    let header = header(4096, 500, 2, 2);
    let mut encoder = Encoder::new(Vec::new(), header).unwrap();
    let mut run = FrameRun::new(header.page_size);
    for some in pages.chunks(10) {
        run.clear();
        for (n, page) in some {
            run.push(Pgno::new(*n).unwrap(), page).unwrap();
        }
        assert_eq!(run.len_pages(), some.len());
        encoder.append(&run).unwrap();
    }
    let (file, _) = encoder.finish().unwrap();
    assert_eq!(file, encode(header, &pages));
    assert_eq!(decode(&file).unwrap(), pages);
}
