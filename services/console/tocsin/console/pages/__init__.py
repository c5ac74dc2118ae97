"""Pages for people: rendered here, working without JavaScript where a form can."""
