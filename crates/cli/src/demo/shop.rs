//! A small shop. What an order holds follows from its number alone, so that anybody can tell
//! later whether a restored order is exactly the one that was placed.

use rusqlite::{Connection, params};

/// Products, and how many of each the shop starts with.
pub const PRODUCTS: i64 = 40;
/// Pieces of each product at the start; the shop can owe.
pub const STOCK: i64 = 100_000;

const SCHEMA: &str = "
    CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, stock INTEGER NOT NULL);
    CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT NOT NULL, note TEXT NOT NULL);
    CREATE TABLE order_lines (
        order_id INTEGER NOT NULL REFERENCES orders, position INTEGER NOT NULL,
        product_id INTEGER NOT NULL REFERENCES products, quantity INTEGER NOT NULL,
        PRIMARY KEY (order_id, position)) WITHOUT ROWID;
    CREATE INDEX orders_by_customer ON orders (customer);";

const NAMES: [&str; 8] = ["Ada", "Barbara", "Edsger", "Grace", "Jim", "Leslie", "Niklaus", "Tony"];
const WORDS: [&str; 10] =
    ["please", "wrap", "as", "a", "gift", "leave", "with", "the", "neighbour", "thanks"];

/// One order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Counts from 1, without holes.
    pub id: i64,
    /// Who ordered.
    pub customer: String,
    /// What they wrote.
    pub note: String,
    /// Product and quantity, by position.
    pub lines: Vec<(i64, i64)>,
}

impl Order {
    /// The order with this number.
    pub fn number(id: i64) -> Order {
        let mut random = fastrand::Rng::with_seed(id.unsigned_abs());
        let mut pick = |from: &[&str]| from[random.usize(..from.len())].to_owned();
        let customer = format!("{} {id}", pick(&NAMES));
        let words = 2 + id.unsigned_abs() as usize % 30;
        let note = (0..words).map(|_| pick(&WORDS)).collect::<Vec<_>>().join(" ");
        let lines =
            (0..random.u64(1..=4)).map(|_| (random.i64(1..=PRODUCTS), random.i64(1..=5))).collect();
        Order { id, customer, note, lines }
    }

    /// Places the order: itself, its lines and the stock change together or not at all.
    pub fn place(&self, shop: &mut Connection) -> rusqlite::Result<()> {
        let sale = shop.transaction()?;
        sale.prepare("INSERT INTO orders VALUES (?, ?, ?)")?.execute(params![
            self.id,
            self.customer,
            self.note
        ])?;
        for (position, (product, quantity)) in (1_i64..).zip(&self.lines) {
            sale.prepare("INSERT INTO order_lines VALUES (?, ?, ?, ?)")?
                .execute(params![self.id, position, product, quantity])?;
            sale.prepare("UPDATE products SET stock = stock - ? WHERE id = ?")?
                .execute(params![quantity, product])?;
        }
        sale.commit()
    }

    /// Reads an order back, if it is there.
    pub fn read(shop: &Connection, id: i64) -> rusqlite::Result<Option<Order>> {
        use rusqlite::OptionalExtension;
        let head = shop
            .prepare("SELECT customer, note FROM orders WHERE id = ?")?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((customer, note)) = head else { return Ok(None) };
        let lines = shop
            .prepare(
                "SELECT product_id, quantity FROM order_lines WHERE order_id = ? ORDER BY position",
            )?
            .query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Some(Order { id, customer, note, lines }))
    }
}

/// Opens a new shop.
pub fn open(path: &std::path::Path) -> rusqlite::Result<Connection> {
    let mut shop = Connection::open(path)?;
    shop.busy_timeout(std::time::Duration::from_secs(5))?;
    shop.pragma_update(None, "journal_mode", "wal")?;
    shop.pragma_update(None, "synchronous", "normal")?;
    let opening = shop.transaction()?;
    opening.execute_batch(SCHEMA)?;
    for id in 1..=PRODUCTS {
        let name = format!("product {id}");
        opening.execute("INSERT INTO products VALUES (?, ?, ?)", params![id, name, STOCK])?;
    }
    opening.commit()?;
    Ok(shop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_reads_back_as_it_was_placed() {
        let folder = tempfile::tempdir().unwrap();
        let mut shop = open(&folder.path().join("shop.db")).unwrap();
        for id in 1..50 {
            Order::number(id).place(&mut shop).unwrap();
            assert_eq!(Order::read(&shop, id).unwrap(), Some(Order::number(id)));
        }
        assert_eq!(Order::read(&shop, 50).unwrap(), None);
        assert_ne!(Order::number(1).lines, Order::number(2).lines);
    }
}
