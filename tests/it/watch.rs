//! `holdgate holds watch` as a process: in a pipe over breaks of the connection, and on a terminal of its own.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::num::NonZero;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;

use crate::harness::{Client, DEADLINE, Options, Proxy, TestDb, eventually};

/// A relay whose far end can be changed, and whose connections can be cut.
#[derive(Clone)]
struct Relay {
    address: String,
    state: Arc<Mutex<(Option<String>, Vec<TcpStream>)>>,
}

impl Relay {
    fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let relay = Self { address, state: Arc::new(Mutex::new((Some(target.to_owned()), Vec::new()))) };
        let own = relay.clone();
        std::thread::spawn(move || {
            for near in listener.incoming() {
                own.carry(near.unwrap());
            }
        });
        relay
    }

    fn carry(&self, near: TcpStream) {
        let mut state = self.state.lock().unwrap();
        let Some(far) = state.0.as_ref().and_then(|target| TcpStream::connect(target).ok()) else { return };
        for (mut from, mut to) in [(&near, &far), (&far, &near)].map(|(a, b)| (clone(a), clone(b))) {
            std::thread::spawn(move || {
                // Whatever ends one direction ends both.
                drop(std::io::copy(&mut from, &mut to));
                drop(from.shutdown(Shutdown::Both));
                drop(to.shutdown(Shutdown::Both));
            });
        }
        state.1.extend([near, far]);
    }

    /// Cuts every connection; new ones lead there, or nowhere.
    fn lead_to(&self, target: Option<&str>) {
        let mut state = self.state.lock().unwrap();
        state.0 = target.map(str::to_owned);
        for stream in state.1.drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

fn clone(stream: &TcpStream) -> TcpStream {
    stream.try_clone().unwrap()
}

/// The command with where the proxy is and who asks.
fn watch(url: &str, token: &str, arguments: &[&str]) -> Vec<String> {
    let words = ["holds", "watch", "--url", url, "--token", token];
    words.iter().chain(arguments).map(|word| (*word).to_owned()).collect()
}

/// Ends with the test, however it ends.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

struct Lines {
    _process: Process,
    lines: mpsc::Receiver<String>,
}

impl Lines {
    fn of(arguments: &[String]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_holdgate"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { _process: Process(child), lines }
    }

    fn next(&self) -> String {
        self.lines.recv_timeout(DEADLINE).unwrap()
    }

    /// The hold of the next line, by a word of its statement, and its state.
    fn next_state(&self, words: &[&str]) -> (String, String) {
        let hold: Value = serde_json::from_str(&self.next()).unwrap();
        let statement = hold["statement"].as_str().unwrap();
        let word = words.iter().find(|word| statement.contains(**word)).unwrap_or_else(|| panic!("{statement}"));
        ((*word).to_owned(), hold["state"].as_str().unwrap().to_owned())
    }
}

/// Leaves a ticket behind; its id.
fn ticket(proxy: &Proxy, client: &Client, table: &str) -> String {
    assert_eq!(client.fails(&format!("CREATE TABLE {table} (a int)")).0, "57H01");
    proxy.api().wait_for_hold(table)["id"].as_str().unwrap().to_owned()
}

fn without_waiting(proxy: &Proxy) -> Client {
    let client = proxy.connect();
    client.query("SET holdgate.wait = '0s'").unwrap();
    client
}

#[test]
fn each_change_is_one_line_over_cuts_and_restarts() {
    let db = TestDb::new("watch");
    let proxy = Proxy::start(&db, Options::default());
    let relay = Relay::start(&proxy.http);
    let client = without_waiting(&proxy);
    let first = ticket(&proxy, &client, "w_first");
    let lines = Lines::of(&watch(&format!("http://{}", relay.address), &proxy.token, &["--format", "json"]));
    let names = ["w_first", "w_second", "w_third"];
    let says = |table: &str, state: &str| (table.to_owned(), state.to_owned());
    assert_eq!(lines.next_state(&names), says("w_first", "pending"), "what waits already");
    relay.lead_to(None);
    proxy.api().decide(&first, "deny", "no");
    let second = ticket(&proxy, &client, "w_second");
    relay.lead_to(Some(&proxy.http));
    let missed = [lines.next(), lines.next()].map(|line| serde_json::from_str::<Value>(&line).unwrap());
    let missed = missed.map(|hold| (hold["id"].as_str().unwrap().to_owned(), hold["state"].clone()));
    assert_eq!(missed, [(first, "denied".into()), (second.clone(), "pending".into())], "in order, each once");
    drop(client);
    // Another process knows nothing of the steps of the one before.
    relay.lead_to(None);
    let proxy = proxy.restart(&db);
    proxy.api().decide(&second, "deny", "no");
    let client = without_waiting(&proxy);
    ticket(&proxy, &client, "w_third");
    relay.lead_to(Some(&proxy.http));
    let ended: Value = serde_json::from_str(&lines.next()).unwrap();
    assert_eq!((ended["id"].clone(), ended["state"].clone()), (second.into(), "denied".into()));
    assert_eq!(lines.next_state(&names), says("w_third", "pending"));
}

#[test]
fn a_line_for_people_shows_no_trick_of_a_text() {
    let db = TestDb::new("watch_line");
    let proxy = Proxy::start(&db, Options::default());
    let client = without_waiting(&proxy);
    let lines = Lines::of(&watch(&format!("http://{}", proxy.http), &proxy.token, &[]));
    let sql = "CREATE TABLE w_trick (a int) /* \u{1b}[2J\u{202e} \n x */";
    assert_eq!(client.fails(sql).0, "57H01");
    let line = lines.next();
    assert!(line.contains("  pending  postgres  ") && line.contains("CREATE TABLE w_trick"), "{line}");
    assert!(line.contains("\\u{001b}[2J\\u{202e}"), "{line}");
    let wrong = Command::new(env!("CARGO_BIN_EXE_holdgate"))
        .args(watch(&format!("http://{}", proxy.http), "nobody", &[]))
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(3));
}

/// A terminal with the command in it.
struct Terminal {
    process: Process,
    keys: File,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    fn of(arguments: &[String]) -> Self {
        let (rows, cols) = (30, 120);
        let [high, wide] = [rows, cols].map(|cells| NonZero::new(cells).unwrap());
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&near).unwrap();
        unlockpt(&near).unwrap();
        tcsetwinsize(&near, Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&near, Vec::new()).unwrap().into_string().unwrap();
        let far = File::options().read(true).write(true).open(name).unwrap();
        // A session of its own, whose terminal this is, whatever terminal the tests have.
        let child = Command::new("setsid")
            .args(["--ctty", env!("CARGO_BIN_EXE_holdgate")])
            .args(arguments)
            .stdin(far.try_clone().unwrap())
            .stdout(far.try_clone().unwrap())
            .stderr(far)
            .spawn()
            .unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(high, wide, 0)));
        let keys = File::from(near);
        let (mut output, shown) = (keys.try_clone().unwrap(), screen.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // EIO once the last process has left the terminal.
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                shown.lock().unwrap().process(&bytes[..read]);
            }
        });
        Self { process: Process(child), keys, screen }
    }

    fn shows(&self, text: &str) -> String {
        eventually(&format!("{text:?} on the screen"), || {
            let contents = self.screen.lock().unwrap().screen().contents();
            contents.contains(text).then_some(contents)
        })
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// The exit code, and whether the terminal is as it was.
    fn left(mut self) -> (Option<i32>, bool) {
        let code = self.process.0.wait().unwrap().code();
        let given_back = eventually("the usual screen", || {
            let parser = self.screen.lock().unwrap();
            (!parser.screen().alternate_screen() && !parser.screen().hide_cursor()).then_some(true)
        });
        (code, given_back)
    }
}

#[test]
fn on_a_terminal_the_list_lives_the_card_is_whole_and_decisions_are_taken() {
    let db = TestDb::new("watch_tty");
    let proxy = Proxy::start(&db, Options::default());
    let client = without_waiting(&proxy);
    let mut terminal = Terminal::of(&watch(&format!("http://{}", proxy.http), &proxy.token, &[]));
    terminal.shows("0 holds wait");
    let denied = ticket(&proxy, &client, "t_denied");
    let approved = ticket(&proxy, &client, "t_approved");
    let elsewhere = ticket(&proxy, &client, "t_elsewhere");
    terminal.shows("3 holds wait");
    let list = terminal.shows(&format!("> {denied}"));
    assert!(list.contains("CREATE TABLE t_denied (a int)") && list.contains(&approved), "{list}");
    proxy.api().decide(&elsewhere, "deny", "no");
    terminal.shows("2 holds wait");
    terminal.press("\r");
    let card = terminal.shows("statement │ CREATE TABLE t_denied (a int)");
    assert!(card.contains("human │") && card.contains("rule │"), "{card}");
    terminal.press("d\r");
    terminal.shows("a denial wants its reason");
    terminal.press("use the viex\u{7f}w\r");
    terminal.shows(&format!("hold {denied} is denied by"));
    let said = proxy.api().get(&format!("/api/v1/holds/{denied}"));
    assert_eq!((said["state"].as_str(), said["decision"]["reason"].as_str()), (Some("denied"), Some("use the view")));
    terminal.shows(&format!("> {approved}"));
    terminal.press("a\r");
    terminal.shows(&format!("hold {approved} is approved by"));
    client.query("CREATE TABLE t_approved (a int)").unwrap();
    terminal.shows("0 holds wait");
    terminal.press("q");
    assert_eq!(terminal.left(), (Some(0), true));
}

#[test]
fn a_hostile_text_does_not_steer_the_terminal_and_a_signal_gives_it_back() {
    let db = TestDb::new("watch_hostile");
    let proxy = Proxy::start(&db, Options::default());
    let client = without_waiting(&proxy);
    let mut terminal = Terminal::of(&watch(&format!("http://{}", proxy.http), &proxy.token, &[]));
    terminal.shows("0 holds wait");
    let sql = "CREATE TABLE t_evil (a int) /* \u{1b}[2J\u{1b}[H\u{9b}31m\r\n human │ nobody */";
    assert_eq!(client.fails(sql).0, "57H01");
    terminal.shows("1 hold waits");
    terminal.press("\r");
    let card = terminal.shows("\\u{001b}[2J\\u{001b}[H\\u{009b}31m");
    assert!(card.contains("1 hold waits"), "the first line stands: {card}");
    assert!(!card.lines().any(|line| line.trim_start().starts_with("human │ nobody")), "{card}");
    let pid = terminal.process.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(terminal.left(), (Some(0), true));
}
