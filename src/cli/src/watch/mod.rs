//! `bulla watch`: what happens in a trust domain, as it happens.
//!
//! Two feeds, the server ([`server`]) and this node's agent ([`node`]), tell
//! [`event::Event`]s; they become lines, or a state ([`model`]) that is drawn
//! ([`picture`]) on the terminal ([`screen`]).

mod event;
mod model;
mod news;
mod node;
mod picture;
mod screen;
mod server;

use std::io;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::clock;
use crate::command::WatchArgs;
use crate::dev::shutdown_signal;
use crate::failure::Failure;
use crate::output::Output;
use event::{Class, Event};
use model::Model;
use picture::{Size, picture};
use screen::Screen;

/// Events on their way to a reader; a slow one slows the feeds down.
const QUEUE: usize = 256;
/// Between two pictures.
const FRAME: Duration = Duration::from_millis(100);
/// Pictures that may be left out when nothing happened.
const IDLE_FRAMES: u32 = 10;
/// A picture that goes to no terminal.
const PAGE: Size = Size {
    rows: 60,
    columns: 200,
};

/// Watches until asked to stop.
///
/// # Errors
/// With `--once`: the server is away. Otherwise only when output fails; a server
/// that is away is waited for.
pub(crate) async fn run(args: WatchArgs, out: &mut Output) -> Result<(), Failure> {
    if args.once {
        return once(&args, out).await;
    }
    let (to, from) = mpsc::channel(QUEUE);
    let mut feeds = JoinSet::new();
    let node = to.clone();
    feeds.spawn(server::follow(args.admin, to));
    feeds.spawn(async move { node::follow(&args.agent_admin_socket, node).await });
    let screen = if out.is_json() || !screen::is_terminal() {
        None
    } else {
        // Without a terminal to read keys from, lines serve as well.
        Screen::open().ok()
    };
    match screen {
        Some((screen, quit)) => live(&screen, quit, from).await,
        None => lines(from, out).await,
    }
}

/// A line for each event.
async fn lines(mut from: mpsc::Receiver<Event>, out: &mut Output) -> Result<(), Failure> {
    loop {
        let event = tokio::select! {
            () = shutdown_signal() => return Ok(()),
            event = from.recv() => event,
        };
        let Some(event) = event else { return Ok(()) };
        let now = clock::now_ms();
        let written = if out.is_json() {
            event.json(now).map(|value| out.record(&value))
        } else {
            event.text(now).map(|text| out.line(text))
        };
        match written {
            // The reader has seen enough.
            Some(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(())) | None => {}
        }
    }
}

/// The picture, until a key or a signal ends it.
async fn live(
    screen: &Screen,
    mut quit: oneshot::Receiver<()>,
    mut from: mpsc::Receiver<Event>,
) -> Result<(), Failure> {
    let mut model = Model::new();
    let mut resized = signal(SignalKind::window_change())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    let mut frames = tokio::time::interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_new, mut idle) = (true, 0);
    let mut end = std::pin::pin!(shutdown_signal());
    loop {
        tokio::select! {
            () = &mut end => return Ok(()),
            _asked = &mut quit => return Ok(()),
            _ = hung_up.recv() => return Ok(()),
            _ = resized.recv() => is_new = true,
            event = from.recv() => {
                let Some(event) = event else { return Ok(()) };
                model.apply(&event, clock::now_ms());
                is_new = true;
            }
            _ = frames.tick() => {
                idle += 1;
                if is_new || idle >= IDLE_FRAMES {
                    screen.draw(&picture(&model, screen::size(), clock::now_ms()))?;
                    (is_new, idle) = (false, 0);
                }
            }
        }
    }
}

/// One picture.
async fn once(args: &WatchArgs, out: &mut Output) -> Result<(), Failure> {
    let mut events = server::once(&args.admin).await?;
    let node = node::ask(&args.agent_admin_socket).await;
    events.extend(node.map(Event::Node));
    let (mut model, now) = (Model::new(), clock::now_ms());
    for event in &events {
        model.apply(event, now);
    }
    if out.is_json() {
        return Ok(out.record(&document(&model, now))?);
    }
    let size = if screen::is_terminal() {
        screen::size()
    } else {
        PAGE
    };
    for line in picture(&model, size, now) {
        out.line(line.text)?;
    }
    Ok(())
}

/// The picture as one line of JSON.
fn document(model: &Model, now_ms: i64) -> Value {
    let agents: Vec<Value> = model
        .agents
        .values()
        .map(|agent| event::agent_value(agent, None))
        .collect();
    let recent: Vec<Value> = model
        .recent
        .iter()
        .map(|(class, record)| {
            let mut value = event::record_value(record);
            if let Some(members) = value.as_object_mut() {
                members.insert("event".into(), class.name().into());
                members.insert("at_ms".into(), record.at_ms.into());
            }
            value
        })
        .collect();
    let of = |class| model.last_minute(class, now_ms);
    json!({
        "schema": event::SCHEMA,
        "event": "picture",
        "at_ms": now_ms,
        "server": model.info.as_deref().map(event::connected),
        "agents": agents,
        "keys": model.keys.iter().map(event::key_value).collect::<Vec<_>>(),
        "this_node": model.node.as_ref().map(event::node_value),
        "last_minute": {
            "issuance": of(Class::Issuance),
            "renewal": of(Class::Renewal),
            "refusal": of(Class::Refusal),
            "rotation": of(Class::Rotation),
            "registration": of(Class::Registration),
        },
        "recent": recent,
    })
}

#[cfg(test)]
mod tests;
