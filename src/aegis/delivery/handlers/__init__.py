"""One file per noun: authorise, decide, append the intent, act, append the outcome."""
