//! Any bytes as the first packet: what is accepted accounts for every byte.
#![no_main]

use holdgate::wire::startup::{Startup, packet_len, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(head) = bytes.first_chunk::<4>() {
        drop(packet_len(*head));
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
});
