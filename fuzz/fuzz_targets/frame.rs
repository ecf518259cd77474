//! Any bytes as frames of either side: what is read stays within the bytes, and reads the same again.
#![no_main]

use holdgate::wire::{backend, frame, frontend};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for read in [frame::frontend_header, frame::backend_header, frame::password_header] {
        let mut rest = bytes;
        while let Ok(Some(header)) = read(rest) {
            assert!(header.frame_len() >= frame::HEADER_LEN);
            // No byte behind the header changes what the header says.
            assert_eq!(read(&rest[..frame::HEADER_LEN]), Ok(Some(header)));
            let Some(body) = rest.get(frame::HEADER_LEN..header.frame_len()) else { break };
            views(body);
            rest = &rest[header.frame_len()..];
        }
    }
});

/// Every borrowed view of a body.
fn views(body: &[u8]) {
    if let Ok(text) = frontend::query(body) {
        assert_eq!(text.len() + 1, body.len());
    }
    drop(frontend::parse(body));
    if let Ok((_, rest)) = frontend::bind_names(body) {
        drop(frontend::bind_values(rest));
    }
    drop(frontend::target(body));
    drop(frontend::execute(body));
    drop(frontend::function_oid(body));
    drop(backend::row_description(body));
    drop(backend::data_row(body));
    drop(backend::command_complete(body));
    drop(backend::parameter_status(body));
    drop(backend::key_data(body));
    drop(backend::Fields::new(body).sqlstate());
}
