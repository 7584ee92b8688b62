"""The public end of tunnels: who asks comes in here, and agents dial in here."""
