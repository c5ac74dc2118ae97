"""Read models: what pages and API list, built from the topics and thrown away at the end."""
