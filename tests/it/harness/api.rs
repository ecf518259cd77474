//! The operators' HTTP API, as a test uses it.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::eventually;

/// A client with a token.
#[derive(Clone)]
pub struct Api {
    address: String,
    token: String,
}

impl Api {
    pub fn new(address: &str, token: &str) -> Self {
        Self { address: address.to_owned(), token: token.to_owned() }
    }

    /// One request; status and body.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
        self.try_request(method, path, body).unwrap()
    }

    /// A JSON answer, or none where nobody answers.
    pub fn try_get(&self, path: &str) -> Option<Value> {
        let (status, body) = self.try_request("GET", path, None)?;
        (status == 200).then(|| serde_json::from_str(&body).ok()).flatten()
    }

    /// Decides a hold, whatever comes of it; none where nobody answers.
    pub fn try_decide(&self, id: &str, decision: &str) -> Option<u16> {
        let body = json!({ "decision": decision, "reason": "a test" });
        self.try_request("POST", &format!("/api/v1/holds/{id}/decision"), Some(&body)).map(|(status, _)| status)
    }

    fn try_request(&self, method: &str, path: &str, body: Option<&Value>) -> Option<(u16, String)> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect(&self.address).ok()?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            self.token,
            body.len()
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split_whitespace().nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// A JSON answer.
    pub fn get(&self, path: &str) -> Value {
        let (status, body) = self.request("GET", path, None);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The pending hold whose statement holds a text, as soon as it is there.
    pub fn wait_for_hold(&self, text: &str) -> Value {
        eventually(&format!("a hold of {text:?}"), || {
            let holds = self.get("/api/v1/holds?state=pending");
            let found = holds["holds"]
                .as_array()
                .unwrap()
                .iter()
                .find(|hold| hold["statement"].as_str().unwrap().contains(text));
            found.cloned()
        })
    }

    /// Decides a hold; status and body.
    pub fn decide(&self, id: &str, decision: &str, reason: &str) -> (u16, Value) {
        let body = json!({ "decision": decision, "reason": reason });
        let (status, body) = self.request("POST", &format!("/api/v1/holds/{id}/decision"), Some(&body));
        (status, serde_json::from_str(&body).unwrap())
    }

    /// Waits for a hold in a thread of its own, and decides it.
    pub fn decide_later(&self, text: &str, decision: &'static str) -> std::thread::JoinHandle<Value> {
        let (api, text) = (self.clone(), text.to_owned());
        std::thread::spawn(move || {
            let hold = api.wait_for_hold(&text);
            let (status, body) = api.decide(hold["id"].as_str().unwrap(), decision, "reason of the test");
            assert_eq!(status, 200, "{body}");
            hold
        })
    }
}
