"""The tunnel: how a workspace that can only dial out is reached."""
