"""What money is: ledger, wallets, grants, holds, rate cards, quotes, settlement."""
