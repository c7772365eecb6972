//! The guard's ledger port, on the engine.

use cordon_guard::ports::{Ledger, LedgerDown, PortFuture};
use cordon_ledger::{Draft, Level, Receipt};

use super::Engine;

impl Ledger for Engine {
    fn append(&self, draft: Draft, level: Level) -> PortFuture<Result<Receipt, LedgerDown>> {
        let append = Self::append(self, draft, level);
        Box::pin(async move { append.await.map_err(|error| LedgerDown(error.to_string())) })
    }
}
