"""The pages: server-rendered, working without scripts, reading projections only."""
