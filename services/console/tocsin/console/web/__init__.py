"""The console's HTTP shell: routes with their rules, sign-in, problems."""
