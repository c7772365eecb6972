//! Delegation only ever attenuates: random chains of narrowing, against random requests.

use cordon_capability::Token;
use cordon_core::{
    Action, Bound, Capability, Caveat, Chain, Class, Context, Effect, Facts, Party, Principal, PrincipalKind,
    Record, Request, Resource, Timestamp, Value,
};

use crate::support::{Seeded, issuer, key};

const CHAINS: u64 = 10_000;
const REQUESTS: usize = 8;

const CLASSES: [&str; 4] = ["data.read", "data.read:orders", "money.move", "message.send"];
const TOOLS: [&str; 3] = ["bank/pay", "mail/send", "crm/read"];
const AGENTS: [&str; 2] = ["planner", "writer"];
const TEXTS: [&str; 3] = ["/data/a", "/data/b", "/etc/x"];

fn some<T: Clone>(random: &mut Seeded, all: &[T]) -> Vec<T> {
    all.iter().filter(|_| random.below(3) > 0).cloned().collect()
}

fn caveat(random: &mut Seeded) -> Caveat {
    let texts = |all: Vec<&str>| all.into_iter().map(Box::from).collect();
    let number = i64::try_from(random.below(100)).unwrap();
    match random.below(11) {
        0 => Caveat::Classes(some(random, &CLASSES).iter().map(|text| text.parse().unwrap()).collect()),
        1 => Caveat::Tools(texts(some(random, &TOOLS))),
        2 => {
            Caveat::Resources(some(random, &TOOLS).iter().map(|tool| format!("Tool:{tool}").into()).collect())
        }
        3 => Caveat::Tenant("acme".into()),
        4 => Caveat::Principal(Party::Agent, AGENTS[random.below(2)].into()),
        5 => Caveat::MaxDepth(u32::try_from(random.below(8)).unwrap()),
        6 => Caveat::Expires(900 + u64::try_from(random.below(300)).unwrap()),
        7 => Caveat::Calls(u64::try_from(random.below(20)).unwrap()),
        8 => Caveat::Argument("/amount".into(), Bound::AtMost(number)),
        9 => Caveat::Argument("/amount".into(), Bound::AtLeast(number / 4)),
        _ => Caveat::Argument(
            "/path".into(),
            Bound::Prefix(["/", "/data/", "/data/a"][random.below(3)].into()),
        ),
    }
}

fn request(random: &mut Seeded) -> Request {
    let tool = TOOLS[random.below(TOOLS.len())];
    let classes = some(random, &CLASSES[..3]);
    let classes = classes.iter().take(2).map(|text| text.parse::<Class>().unwrap());
    let agent = |id| Principal::new(PrincipalKind::Agent, id);
    let via = some(random, &AGENTS).into_iter().map(agent).collect();
    let chain = Chain::new(None, Some(agent(AGENTS[random.below(2)])), None).unwrap().with_via(via).unwrap();
    let args = Record::from([
        ("amount".into(), Value::Long(i64::try_from(random.below(60)).unwrap())),
        ("path".into(), Value::text(TEXTS[random.below(3)])),
    ]);
    Request {
        chain,
        action: Action::declared(tool.parse().unwrap(), classes, Effect::Read),
        resource: Resource::new("Tool", tool, ["acme", "acme", "other"][random.below(3)]),
        context: Context { args, ..Context::default() },
    }
}

fn allows(capability: &Capability, request: &Request, now: Timestamp) -> bool {
    capability.unmet(request, &Facts::default(), now).is_none()
}

/// A chain of one to four narrowings, each with zero to two caveats, by changing holders.
fn chain(random: &mut Seeded) -> Token {
    let caveats = |random: &mut Seeded| (0..random.below(3)).map(|_| caveat(random)).collect::<Vec<_>>();
    let first = caveats(random);
    let mut holder = 1;
    let mut token = issuer().mint(&key(holder).verifying_key(), &first, random).unwrap();
    for _ in 0..=random.below(4) {
        let next = u8::try_from(1 + random.below(3)).unwrap();
        let narrower = caveats(random);
        token = token.attenuate(&key(holder), &key(next).verifying_key(), &narrower, random).unwrap();
        holder = next;
    }
    token
}

#[test]
fn what_a_child_allows_its_parent_allows_in_ten_thousand_chains() {
    let (mut allowed, mut lost) = (0, 0);
    for seed in 1..=CHAINS {
        let mut random = Seeded(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let child = chain(&mut random).verify(&issuer().key()).unwrap();
        for _ in 0..REQUESTS {
            let asked = request(&mut random);
            let now = Timestamp::from_micros(1_000_000 * (900 + random.next() % 300));
            let mut below = None;
            for blocks in (1..=child.blocks.len()).rev() {
                let part = Capability { blocks: child.blocks[..blocks].to_vec(), holder: child.holder };
                let allows = allows(&part, &asked, now);
                assert!(
                    below != Some(true) || allows,
                    "seed {seed}: block {blocks} widens {asked:?} of {child:?}"
                );
                lost += usize::from(below == Some(false) && allows);
                below = Some(allows);
            }
            allowed += usize::from(allows(&child, &asked, now));
        }
    }
    // The property would hold of tokens that allow nothing, and of caveats that refuse nothing.
    assert!(allowed > 5_000 && lost > 5_000, "{allowed} allowed, {lost} narrowed away");
}
