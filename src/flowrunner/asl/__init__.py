"""Amazon States Language: text in, compiled program or diagnostics out."""
