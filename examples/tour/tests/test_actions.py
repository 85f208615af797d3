"""The examples of all actions, each called directly and over REST."""

from servey.servey_test.test_servey_actions import define_test_class

TestActions = define_test_class()
