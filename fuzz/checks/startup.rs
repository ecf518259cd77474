//! Any bytes as the first packet: what is accepted accounts for every byte.

use holdgate::wire::startup::{Startup, packet_len, read};

pub fn check(bytes: &[u8]) {
    if let Some(head) = bytes.first_chunk::<4>() {
        looked_at(packet_len(*head));
    }
    match read(bytes) {
        Ok(Startup::Session(parameters)) => {
            let said: usize = parameters.pairs.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
            assert_eq!(said + 5, bytes.len());
        }
        Ok(Startup::Cancel { key, .. }) => assert_eq!(key.len() + 8, bytes.len()),
        Ok(Startup::Ssl | Startup::GssEnc) => assert_eq!(bytes.len(), 4),
        Err(_) => {}
    }
}

/// Whatever it is: that it came back is enough.
fn looked_at<T>(_: T) {}
