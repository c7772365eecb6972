//! The reads that a tool's manifest wants made before the tool is called.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use cordon_core::ActionName;
use cordon_core::json::quote;
use cordon_wire::mcp::{Era, Message, RequestId};

use super::judge::arguments;
use super::listing::own_meta;
use super::request::version;
use super::{ClientMessage, Inner};

impl Inner {
    /// Makes the reads that calling `tool` wants. Each is a call like the client's own: judged, recorded,
    /// and its result checked. What comes of them the guard sees; without them it refuses the call.
    pub(super) fn make_reads<'m>(
        me: &'m Arc<Self>,
        tool: &'m str,
        message: &'m Message,
        era: Era,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'm>> {
        Box::pin(async move {
            let (Some(arguments), Ok(action)) = (arguments(message), ActionName::tool(me.name(), tool))
            else {
                return;
            };
            let Ok(session) = me.session().await else { return };
            for wanted in me.guard.wanted(session.id, &action, arguments) {
                let id = RequestId::text(&format!("cordon-read-{}", me.flights.number()));
                let meta = match era {
                    Era::Modern => format!(r#","_meta":{}"#, own_meta(version(message))),
                    Era::Legacy => String::new(),
                };
                let (name, arguments) = (quote(&wanted.tool), wanted.arguments);
                let read = format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":{name},"arguments":{arguments}{meta}}}}}"#
                );
                let Ok(message) = Message::parse(read.into_bytes(), &me.limits().message) else { continue };
                drop(Self::request(me, ClientMessage { message, era, headers: None, outlet: None }).await);
            }
        })
    }
}
