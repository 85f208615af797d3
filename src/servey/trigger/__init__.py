"""Triggers: data that says when or how an action is called. Plugins serve them (`servey.plugin.TriggerSupport`)."""
