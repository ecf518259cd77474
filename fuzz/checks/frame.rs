//! Any bytes as frames of either side: what is read stays within the bytes, and reads the same again.

use holdgate::wire::{backend, frame, frontend};

pub fn check(bytes: &[u8]) {
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
}

/// Every borrowed view of a body.
fn views(body: &[u8]) {
    if let Ok(text) = frontend::query(body) {
        assert_eq!(text.len() + 1, body.len());
    }
    looked_at(frontend::parse(body));
    if let Ok((_, rest)) = frontend::bind_names(body) {
        looked_at(frontend::bind_values(rest));
    }
    looked_at(frontend::target(body));
    looked_at(frontend::execute(body));
    if let Ok((_, rest)) = frontend::function_call(body) {
        looked_at(frontend::call_values(rest));
    }
    looked_at(backend::row_description(body));
    looked_at(backend::data_row(body));
    looked_at(backend::command_complete(body));
    looked_at(backend::parameter_status(body));
    looked_at(backend::key_data(body));
    looked_at(backend::Fields::new(body).sqlstate());
}

/// Whatever it is: that it came back is enough.
fn looked_at<T>(_: T) {}
