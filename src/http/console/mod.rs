//! The console: pages for people, rendered here, that work without JavaScript. Its first room is the decision page.
//!
//! A GET never decides; a form counts only from a page of ours, with the token of its own session. Whatever a stranger
//! wrote is text, escaped, with everything that cannot be seen or turns the reading direction shown as a marked code.
//! Start reading at [`routes`].

mod cookies;
mod decide;
mod lists;
pub(in crate::http) mod oidc;
mod page;
mod sessions;
mod shown;
mod sign_in;
mod view;
mod visitor;

use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, get, post};

use super::Site;

pub(in crate::http) use cookies::Place;
pub(in crate::http) use sessions::Sessions;

/// The pages.
pub(super) fn routes() -> Vec<(&'static str, MethodRouter<Site>)> {
    vec![
        ("/", get(async || Redirect::to("/holds"))),
        ("/holds", get(lists::holds)),
        ("/holds/{id}", get(decide::show)),
        ("/holds/{id}/decision", post(decide::decide)),
        ("/sign-in", get(sign_in::form).post(sign_in::sign_in)),
        ("/sign-in/oidc", get(oidc::start)),
        ("/sign-in/oidc/callback", get(oidc::callback)),
        ("/sign-out", post(sign_in::sign_out)),
        ("/assets/console.css", get(style)),
    ]
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("console.css")).into_response()
}

#[cfg(test)]
mod tests;
