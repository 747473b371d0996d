//! What needs a real server and a look inside.

use sha2::{Digest, Sha256};
use testkit::server::{Kind as Server, Server as Running};

use super::*;
use crate::remote::block_on;

/// As `tools/servers.sh` makes it.
const ACCOUNT: &str = "testacct";
const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

fn azure(server: &Running, options: &[(&str, &str)]) -> Azure {
    let address = Address::parse("abs", &format!("{ACCOUNT}@bkt1/{}", Running::fresh_name()));
    let mut options: Options = options.iter().copied().collect();
    options.set("endpoint", format!("http://{}/{ACCOUNT}", server.host));
    let address = address.expect("an address");
    Azure::new(&address, &options, &Environment::default()).expect("a replica")
}

fn put(azure: &Azure, key: &str) -> Result<()> {
    let (body, created) = (Bytes::from_static(b"x"), Some(Timestamp::from_millis(1)));
    block_on(azure.put(Put { key, body, created, condition: None })).map(drop)
}

/// A signature for all that an account holds, good until then.
fn sas(until: &str) -> String {
    let (may, services, kinds, version) = ("rwdlac", "b", "sco", "2019-12-12");
    let text = format!("{ACCOUNT}\n{may}\n{services}\n{kinds}\n\n{until}\n\n\n{version}\n");
    let padded = |with: u8| {
        let mut pad = [with; 64];
        pad.iter_mut().zip(KEY).for_each(|(pad, key)| *pad ^= key);
        pad
    };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text).finalize();
    let outer = Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize();
    let signature = wire::escaped(&BASE64.encode(outer));
    let until = wire::escaped(until);
    format!("?sv={version}&ss={services}&srt={kinds}&sp={may}&se={until}&sig={signature}")
}

#[test]
fn a_listing_goes_on_from_page_to_page() {
    let Some(server) = Running::start(Server::Azurite) else { return };
    let mut azure = azure(&server, &[("account-key", &BASE64.encode(KEY))]);
    for key in ["a/1", "a/2", "a/3", "b/4", "c"] {
        put(&azure, key).expect("put");
    }
    azure.page_size = Some(2);
    let (mut sizes, mut names, mut next) = (Vec::new(), Vec::new(), None::<String>);
    loop {
        let page = block_on(azure.list("", None, next.as_deref())).expect("a page");
        sizes.push(page.entries.len());
        names.extend(page.entries.into_iter().map(|it| it.name));
        match page.next {
            Some(token) => next = Some(token),
            None => break,
        }
    }
    assert_eq!(
        (sizes, names),
        (vec![2, 2, 1], ["a/1", "a/2", "a/3", "b/4", "c"].map(str::to_owned).to_vec())
    );
}

#[test]
fn a_signature_is_good_until_it_expires() {
    let Some(server) = Running::start(Server::Azurite) else { return };
    let good = azure(&server, &[("sas-token", &sas("2999-01-01T00:00:00Z"))]);
    put(&good, "a").expect("put");
    assert_eq!(block_on(good.list("", None, None)).expect("a page").entries.len(), 1);
    let old = azure(&server, &[("sas-token", &sas("2020-01-01T00:00:00Z"))]);
    let error = block_on(old.list("", None, None)).expect_err("an old signature");
    assert!(matches!(error, Error::Expired { .. }), "{error:?}");
    assert!(!format!("{error} {error:?} {old:?}").contains("sig="), "{error}");
}
