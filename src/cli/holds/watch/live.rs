//! The live screen: keys, steps of holds and answers come in through one queue, each changes the view, the view is drawn.

use std::io::Write;
use std::time::Duration;

use crossterm::event::{self, KeyEvent};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::super::api::{Answer, Api, ApiError};
use super::super::{Target, show};
use super::draw;
use super::follow::{Follow, Step};
use super::screen::{Screen, current_size};
use super::view::{Act, Draft, View};
use crate::approvals::Hold;
use crate::cli::exit;
use crate::clock::Clock;
use crate::ids::HoldId;

/// What waits to be shown; the stream is read no faster.
const INPUTS_MAX: usize = 64;
/// Ages move on so often without anything else.
const REDRAW_EVERY: Duration = Duration::from_secs(1);

enum Input {
    Key(KeyEvent),
    /// Ages, and the size of the terminal.
    Redraw,
    Step(Step),
    Answered(Result<Answer, ApiError>),
    Ended(ApiError),
    Leave,
}

/// Shows holds and takes decisions until the operator leaves.
pub(in super::super) async fn live(target: &Target, out: &mut impl Write) -> Result<u8, ApiError> {
    let api = Api::new(target)?;
    let mut follow = Follow::new(api.clone());
    // What is wrong with address or token is said on the usual screen.
    let first = follow.next().await?;
    let (sender, mut inputs) = mpsc::channel(INPUTS_MAX);
    let _tasks = [tokio::spawn(steps(follow, sender.clone())), tokio::spawn(signals(sender.clone()))].map(Task);
    let mut view = View::default();
    let mut screen = Screen::enter(out)?;
    let keys = sender.clone();
    // Reading a terminal cannot be cancelled: the thread ends with the process.
    std::thread::Builder::new().name("keys".to_owned()).spawn(move || read_keys(&keys))?;
    take_step(&mut view, first)?;
    loop {
        let size = current_size();
        screen.draw(&draw::lines(&view, size, Clock::System.now()))?;
        // Cancel-safe: receiving from the queue loses nothing when it is dropped.
        let input = tokio::select! {
            input = inputs.recv() => input.unwrap_or(Input::Leave),
            () = tokio::time::sleep(REDRAW_EVERY) => Input::Redraw,
        };
        match input {
            Input::Redraw => {}
            Input::Key(key) => match view.key(key, size) {
                Act::Nothing => {}
                Act::Leave => return Ok(exit::DONE),
                Act::Decide { id, draft } => {
                    view.note = format!("hold {id}: sending the decision");
                    tokio::spawn(decide(api.clone(), id, draft, sender.clone()));
                }
            },
            Input::Step(step) => take_step(&mut view, step)?,
            Input::Answered(answer) => take_answer(&mut view, answer)?,
            Input::Ended(error) => return Err(error),
            Input::Leave => return Ok(exit::DONE),
        }
    }
}

/// A task that ends with the screen.
struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn take_step(view: &mut View, step: Step) -> Result<(), ApiError> {
    match step {
        Step::Listed(holds) => view.list(holds.iter().map(show::hold).collect::<Result<Vec<Hold>, _>>()?),
        Step::Hold(hold) => view.change(show::hold(&hold)?),
        Step::Lost(why) => view.lost = Some(why),
        Step::Back => view.lost = None,
    }
    Ok(())
}

/// What a decision brought stands under the list; a refusal ends nothing.
fn take_answer(view: &mut View, answer: Result<Answer, ApiError>) -> Result<(), ApiError> {
    match answer {
        Ok(Answer::Decided(hold) | Answer::Conflict(hold)) => {
            view.change(show::hold(&hold)?);
            view.card = None;
            view.note = show::sentence(&hold);
        }
        Err(error) => view.note = format!("not decided: {error}"),
    }
    Ok(())
}

async fn steps(mut follow: Follow, inputs: mpsc::Sender<Input>) {
    loop {
        let step = follow.next().await;
        let over = step.is_err();
        let input = step.map_or_else(Input::Ended, Input::Step);
        if inputs.send(input).await.is_err() || over {
            return;
        }
    }
}

async fn decide(api: Api, id: HoldId, draft: Draft, inputs: mpsc::Sender<Input>) {
    let reason = Some(draft.reason.trim()).filter(|reason| !reason.is_empty());
    let answer = api.decide(id.as_str(), draft.verdict.as_str(), reason).await;
    // An error means that the operator has left.
    let _ = inputs.send(Input::Answered(answer)).await;
}

/// A terminal that is taken away, or an end from outside: the screen is given back before the process ends.
async fn signals(inputs: mpsc::Sender<Input>) {
    let [Ok(mut term), Ok(mut hangup), Ok(mut interrupt)] =
        [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()].map(signal)
    else {
        return;
    };
    // Cancel-safe: each is asked once.
    tokio::select! {
        _ = term.recv() => {}
        _ = hangup.recv() => {}
        _ = interrupt.recv() => {}
    }
    let _ = inputs.send(Input::Leave).await;
}

fn read_keys(inputs: &mpsc::Sender<Input>) {
    loop {
        let input = match event::read() {
            Ok(event::Event::Key(key)) => Input::Key(key),
            Ok(_) => Input::Redraw,
            // The terminal is gone.
            Err(_) => Input::Leave,
        };
        if inputs.blocking_send(input).is_err() {
            return;
        }
    }
}
