from servey.servey_test.test_servey_actions import define_test_class

TestActions = define_test_class()
