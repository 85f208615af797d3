"""Triggers: data that describes when or how an action is called. Plugins serve it (`servey.plugin.TriggerSupport`)."""
