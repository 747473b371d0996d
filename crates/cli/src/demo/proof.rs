//! The proof: the restored shop is exactly the shop as it was after some order.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::shop::{Order, PRODUCTS, STOCK};

/// What a restored shop was found to hold.
#[derive(Debug, PartialEq, Eq)]
pub struct Proven {
    /// Orders 1 to this are there, each exactly as it was placed, and no others.
    pub orders: i64,
}

/// Compares every order, and the stock that must be left after them. The error says what differs.
pub fn prove(database: &Path, at_least: i64) -> Result<Proven, String> {
    let shop = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .map_err(|error| error.to_string())?;
    let orders = compare(&shop).map_err(|error| error.to_string())??;
    if orders < at_least {
        return Err(format!("order {at_least} was reported as replicated, and is not there"));
    }
    Ok(Proven { orders })
}

fn compare(shop: &Connection) -> rusqlite::Result<Result<i64, String>> {
    let (orders, last): (i64, i64) =
        shop.query_row("SELECT count(*), coalesce(max(id), 0) FROM orders", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    if orders != last {
        return Ok(Err(format!("there are {orders} orders, and the last is number {last}")));
    }
    let mut stock = vec![STOCK; PRODUCTS as usize];
    let mut lines = 0_i64;
    for id in 1..=last {
        let expected = Order::number(id);
        let found = Order::read(shop, id)?;
        if found.as_ref() != Some(&expected) {
            return Ok(Err(format!("order {id} should be {expected:?}, and is {found:?}")));
        }
        for (product, quantity) in expected.lines {
            stock[product as usize - 1] -= quantity;
            lines += 1;
        }
    }
    let count: i64 = shop.query_row("SELECT count(*) FROM order_lines", [], |row| row.get(0))?;
    if lines != count {
        return Ok(Err(format!("there should be {lines} order lines, and there are {count}")));
    }
    let left: Vec<i64> = shop
        .prepare("SELECT stock FROM products ORDER BY id")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    match left == stock {
        true => Ok(Ok(last)),
        false => Ok(Err(format!("the stock should be {stock:?}, and is {left:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::shop;

    fn verdict(change: &str, at_least: i64) -> Result<Proven, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        let mut shop = shop::open(&path).unwrap();
        for id in 1..=20 {
            Order::number(id).place(&mut shop).unwrap();
        }
        shop.pragma_update(None, "foreign_keys", false).unwrap();
        shop.execute_batch(change).unwrap();
        prove(&path, at_least)
    }

    #[test]
    fn an_unchanged_shop_is_proven() {
        assert_eq!(verdict("", 20), Ok(Proven { orders: 20 }));
    }

    #[test]
    fn any_difference_is_found() {
        let is = |change, text: &str| {
            let error = verdict(change, 19).unwrap_err();
            assert!(error.contains(text), "{error}");
        };
        is("DELETE FROM orders WHERE id = 20", "order lines");
        is("DELETE FROM orders WHERE id = 7", "19 orders");
        is("UPDATE orders SET note = note || '.' WHERE id = 7", "order 7 should be");
        is("UPDATE order_lines SET quantity = 6 WHERE order_id = 7", "order 7 should be");
        is("UPDATE products SET stock = stock + 1 WHERE id = 3", "the stock should be");
        is("INSERT INTO order_lines VALUES (99, 1, 1, 1)", "order lines");
        let error = verdict("", 21).unwrap_err();
        assert!(error.contains("order 21 was reported"), "{error}");
    }
}
