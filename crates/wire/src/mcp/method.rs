//! The closed table of methods: who may send each, in which era, and what it would do.

use cordon_core::{ClassKind, Effect};

use super::Era;

/// Which side sends a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The agent's side.
    Client,
    /// The tool's side.
    Server,
}

/// Whether a method asks for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// It does.
    Request,
    /// It does not.
    Notification,
}

/// What a method is aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    Server,
    Tool,
    Document,
    Documents,
    Prompt,
    Completion,
    Task,
    Model,
    Person,
}

/// Who may send a method in one era.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Nobody,
    Client,
    Server,
    Either,
}

struct Row {
    name: &'static str,
    shape: Shape,
    legacy: By,
    modern: By,
    aim: Aim,
    classes: &'static [ClassKind],
    effect: Effect,
}

macro_rules! methods {
    ($($variant:ident = $name:literal $shape:ident $legacy:ident $modern:ident $aim:ident [$($class:ident)*] $effect:ident;)*) => {
        /// A method of the protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Method {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
            /// Any other: it is never forwarded.
            Unknown,
        }

        impl Method {
            /// Every method that is known.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            const fn row(self) -> Row {
                match self {
                    $(Self::$variant => Row {
                        name: $name,
                        shape: Shape::$shape,
                        legacy: By::$legacy,
                        modern: By::$modern,
                        aim: Aim::$aim,
                        classes: &[$(ClassKind::$class,)*],
                        effect: Effect::$effect,
                    },)*
                    Self::Unknown => Row {
                        name: "unknown",
                        shape: Shape::Request,
                        legacy: By::Nobody,
                        modern: By::Nobody,
                        aim: Aim::Server,
                        classes: ClassKind::ALL,
                        effect: Effect::Irreversible,
                    },
                }
            }
        }
    };
}

// Columns: name, shape, who sends it in the legacy era, in the modern era, what it is aimed at,
// its capability classes, its effect. A `tools/call` has the classes of its tool's manifest instead.
methods! {
    Initialize = "initialize" Request Client Nobody Server [] Read;
    Initialized = "notifications/initialized" Notification Client Nobody Server [] Read;
    Discover = "server/discover" Request Nobody Client Server [] Read;
    Ping = "ping" Request Either Nobody Server [] Read;
    ListTools = "tools/list" Request Client Client Server [] Read;
    CallTool = "tools/call" Request Client Client Tool [] Irreversible;
    ListResources = "resources/list" Request Client Client Server [] Read;
    ListResourceTemplates = "resources/templates/list" Request Client Client Server [] Read;
    ReadResource = "resources/read" Request Client Client Document [DataRead] Read;
    Subscribe = "resources/subscribe" Request Client Nobody Document [DataRead] Read;
    Unsubscribe = "resources/unsubscribe" Request Client Nobody Document [] Read;
    Listen = "subscriptions/listen" Request Nobody Client Documents [DataRead] Read;
    ListPrompts = "prompts/list" Request Client Client Server [] Read;
    GetPrompt = "prompts/get" Request Client Client Prompt [DataRead] Read;
    Complete = "completion/complete" Request Client Client Completion [DataRead] Read;
    SetLogLevel = "logging/setLevel" Request Client Nobody Server [] Read;
    GetTask = "tasks/get" Request Either Client Task [DataRead] Read;
    TaskResult = "tasks/result" Request Either Nobody Task [DataRead] Read;
    ListTasks = "tasks/list" Request Either Nobody Server [DataRead] Read;
    UpdateTask = "tasks/update" Request Nobody Client Task [DataWrite] Write;
    CancelTask = "tasks/cancel" Request Either Client Task [DataWrite] Write;
    Cancelled = "notifications/cancelled" Notification Either Either Server [] Read;
    Progress = "notifications/progress" Notification Either Server Server [] Read;
    RootsChanged = "notifications/roots/list_changed" Notification Client Nobody Server [] Read;
    Sample = "sampling/createMessage" Request Server Nobody Model [ModelCall] Write;
    Elicit = "elicitation/create" Request Server Nobody Person [DataRead] Read;
    ListRoots = "roots/list" Request Server Nobody Server [DataRead] Read;
    Elicited = "notifications/elicitation/complete" Notification Server Nobody Server [] Read;
    Log = "notifications/message" Notification Server Server Server [] Read;
    ToolsChanged = "notifications/tools/list_changed" Notification Server Server Server [] Read;
    PromptsChanged = "notifications/prompts/list_changed" Notification Server Server Server [] Read;
    ResourcesChanged = "notifications/resources/list_changed" Notification Server Server Server [] Read;
    ResourceUpdated = "notifications/resources/updated" Notification Server Server Document [] Read;
    TaskStatus = "notifications/tasks/status" Notification Either Nobody Task [] Read;
    TaskChanged = "notifications/tasks" Notification Nobody Server Task [] Read;
    Acknowledged = "notifications/subscriptions/acknowledged" Notification Nobody Server Server [] Read;
}

impl Method {
    /// The method that `name` names exactly; [`Method::Unknown`] for any other text.
    pub fn named(name: &str) -> Self {
        Self::ALL.iter().copied().find(|method| method.as_str() == name).unwrap_or(Self::Unknown)
    }

    /// The method as written on the wire.
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }

    /// Whether it asks for an answer.
    pub const fn shape(self) -> Shape {
        self.row().shape
    }

    /// The capability classes it counts as.
    pub const fn classes(self) -> &'static [ClassKind] {
        self.row().classes
    }

    /// What it leaves behind.
    pub const fn effect(self) -> Effect {
        self.row().effect
    }

    /// Whether `sender` may send it as a message of its own in `era`.
    pub const fn may_come_from(self, sender: Sender, era: Era) -> bool {
        let by = match era {
            Era::Legacy => self.row().legacy,
            Era::Modern => self.row().modern,
        };
        matches!((by, sender), (By::Either, _) | (By::Client, Sender::Client) | (By::Server, Sender::Server))
    }

    /// Whether a modern server may embed it in a result as a request for input.
    pub const fn may_be_embedded(self) -> bool {
        matches!(self, Self::Sample | Self::Elicit | Self::ListRoots)
    }

    /// Whether a modern server may answer it by asking for input first.
    pub const fn may_ask_for_input(self) -> bool {
        matches!(self, Self::CallTool | Self::ReadResource | Self::GetPrompt)
    }

    pub(super) const fn aim(self) -> Aim {
        self.row().aim
    }
}
