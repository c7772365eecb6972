# Whether a deletion is soft is an argument of the call; a deletion that does not say so is none.
package cordon

import rego.v1

deny contains "records are only deleted softly" if {
	input.action == "delete"
	input.args.soft != true
}
