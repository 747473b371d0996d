//! The MCP server, as an assistant's program speaks to it.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::daemon::{Answer, Daemon};
use crate::program::{Folder, add};

const DATABASES: &str = "dbs: [{path: a.db, replica: {path: ra}}]\n";

struct Client<'a> {
    daemon: &'a Daemon<'a>,
    token: &'a str,
}

impl Client<'_> {
    fn send(&self, method: &str, headers: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.daemon.address("MCP")).unwrap();
        let length = body.len();
        let token = match self.token {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        };
        write!(
            stream,
            "{method} /mcp HTTP/1.1\r\nHost: localhost\r\n{token}{headers}Connection: close\r\n\
             Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        Answer::read(stream)
    }

    fn post(&self, body: &Value) -> Answer {
        self.send("POST", "", &body.to_string())
    }

    fn request(&self, method: &str, params: &Value) -> Value {
        let answer =
            self.post(&json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}));
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer = answer.json();
        assert_eq!((&answer["jsonrpc"], &answer["id"]), (&"2.0".into(), &7.into()));
        answer
    }

    /// What a tool tells, and whether that is an error.
    fn call(&self, tool: &str, arguments: &Value) -> (String, bool) {
        let answer = self.request("tools/call", &json!({"name": tool, "arguments": arguments}));
        let result = &answer["result"];
        assert_eq!(result["content"][0]["type"], "text", "{answer}");
        let text = result["content"][0]["text"].as_str().unwrap().to_owned();
        (text, result["isError"].as_bool().unwrap())
    }

    fn refusal(&self, tool: &str, arguments: &Value) -> String {
        let answer = self.request("tools/call", &json!({"name": tool, "arguments": arguments}));
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        answer["error"]["message"].as_str().unwrap().to_owned()
    }

    fn tools(&self) -> Vec<String> {
        let answer = self.request("tools/list", &json!({}));
        let tools = answer["result"]["tools"].as_array().unwrap();
        tools.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn an_assistant_looks_at_what_is_replicated_and_changes_nothing() {
    let folder = Folder::new();
    add(&folder.database("a.db"), 1..=3);
    let daemon = Daemon::start(&folder, &format!("mcp-addr: ':0'\n{DATABASES}"));
    daemon.sync("a.db");
    let client = Client { daemon: &daemon, token: "" };
    assert!(daemon.address("MCP").starts_with("127.0.0.1:"));
    let asked = json!({"protocolVersion": "2025-06-18", "capabilities": {},
                       "clientInfo": {"name": "test", "version": "1"}});
    let initialized = client.request("initialize", &asked);
    assert_eq!(initialized["result"]["protocolVersion"], "2025-06-18");
    assert!(initialized["result"]["capabilities"]["tools"].is_object());
    let told = client.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    assert_eq!((told.status, &*told.body), (202, ""));
    assert_eq!(client.request("ping", &Value::Null)["result"], json!({}));
    assert_eq!(
        client.tools(),
        [
            "litestream_info",
            "litestream_databases",
            "litestream_status",
            "litestream_ltx",
            "litestream_version"
        ]
    );

    let path = folder.path("a.db");
    for (tool, arguments, part) in [
        ("litestream_info", json!({}), "\"ready\": true"),
        ("litestream_databases", json!({}), "a.db"),
        ("litestream_status", json!({ "path": path }), "a.db"),
        ("litestream_ltx", json!({ "path": path }), "0000000000000001"),
        ("litestream_version", json!({}), env!("CARGO_PKG_VERSION")),
    ] {
        let (text, is_error) = client.call(tool, &arguments);
        assert!(!is_error && text.contains(part), "{tool}: {text}");
    }
    let (text, is_error) = client.call("litestream_ltx", &json!({"path": "other.db"}));
    assert!(is_error && text.contains("other.db") && text.ends_with("exit code 3\n"), "{text}");

    let refused = client.refusal("litestream_restore", &json!({"path": path, "o": "b.db"}));
    assert_eq!(refused, "litestream_restore needs an mcp-token in the configuration");
    assert!(!folder.path("b.db").exists());
    daemon.stop();
}

#[test]
fn whoever_has_the_token_may_restore_and_reset() {
    let folder = Folder::new();
    add(&folder.database("a.db"), 1..=3);
    folder.write("token", "hush\n");
    let config = format!("mcp-addr: ':0'\nmcp-token-file: token\n{DATABASES}");
    let daemon = Daemon::start(&folder, &config);
    daemon.sync("a.db");
    for token in ["", "hus", "hush2"] {
        let answer = Client { daemon: &daemon, token }.post(&json!({"id": 1, "method": "ping"}));
        assert_eq!(answer.status, 401, "{token}");
        assert!(answer.head.contains("www-authenticate: bearer"), "{answer:?}");
    }

    let client = Client { daemon: &daemon, token: "hush" };
    assert_eq!(client.tools().len(), 7);
    let (source, target) = (folder.path("a.db"), folder.path("b.db"));
    let arguments = json!({"path": source, "o": target, "if_replica_exists": true,
                           "if_db_not_exists": true, "parallelism": 1});
    let (text, is_error) = client.call("litestream_restore", &arguments);
    assert!(!is_error, "{text}");
    let rows = |path| -> i64 {
        let database = rusqlite::Connection::open(path).unwrap();
        database.query_row("SELECT count(*) FROM numbers", [], |row| row.get(0)).unwrap()
    };
    assert_eq!((rows(&target), rows(&source)), (3, 3));
    let again = json!({"path": source, "o": target});
    let (text, is_error) = client.call("litestream_restore", &again);
    assert!(is_error && text.contains("b.db"), "what is there stays: {text}");
    let url = json!({"path": format!("file://{}", folder.path("ra").display())});
    let (text, is_error) = client.call("litestream_ltx", &url);
    assert!(!is_error && text.contains("0000000000000001"), "{text}");
    let (text, is_error) = client.call("litestream_reset", &json!({ "path": source }));
    assert!(is_error && text.ends_with("exit code 8\n"), "it is being replicated: {text}");
    let log = daemon.stop();
    assert!(!log.contains("hush"), "{log}");
}

#[test]
fn what_is_no_request_is_told_so() {
    let folder = Folder::new();
    folder.database("a.db");
    let daemon = Daemon::start(&folder, &format!("mcp-addr: ':0'\n{DATABASES}"));
    let client = Client { daemon: &daemon, token: "" };
    let code = |body: &str| client.send("POST", "", body).json()["error"]["code"].clone();
    assert_eq!(code("{"), -32700);
    assert_eq!(code("1"), -32600);
    assert_eq!(code("[]"), -32600);
    assert_eq!(client.request("resources/list", &json!({}))["error"]["code"], -32601);
    assert_eq!(client.refusal("litestream_rm", &json!({})), "there is no tool \"litestream_rm\"");
    let several =
        json!([{"id": 1, "method": "ping"}, {"method": "x"}, {"id": 2, "method": "ping"}]);
    let answers = client.post(&several).json();
    assert_eq!((&answers[0]["id"], &answers[1]["id"]), (&1.into(), &2.into()));
    assert_eq!(answers.as_array().unwrap().len(), 2);

    assert_eq!(client.send("GET", "", "").status, 405);
    assert_eq!(client.send("POST", "MCP-Protocol-Version: 1999-01-01\r\n", "{}").status, 400);
    assert_eq!(client.send("POST", "Origin: http://evil.example\r\n", "{}").status, 403);
    daemon.stop();
}
