// What is done when. Three programs: before the first event of a step, at an event, at the end of a step.
//
// `place` chooses an operation of them. PASS, SEND, SHOW and WALK start a unit and wait until it is done;
// STOP ends a program.
module sequencer #(
    parameter WORDS = 1,  // that are cleared
    parameter ADDRESS_BITS = 1,
    parameter PLACE_BITS = 1,
    parameter AT_BEGIN = 0,
    parameter AT_EVENT = 0,
    parameter AT_STEP = 0
) (
    input clk,
    input rst,
    output reg [PLACE_BITS-1:0] place,
    input stop,  // the operation at `place` is STOP
    output start,  // starts it where it is another one
    input busy,  // any unit
    output clearing,
    output [ADDRESS_BITS-1:0] clear_address,
    input in_valid,
    output in_ready,
    input in_step,
    input counts,
    output take,  // an event
    output end_of_step,
    input out_ready,
    output out_step,
    input dump_start,
    output start_dump
);
    localparam [2:0] CLEAR = 0, IDLE = 1, RUN = 2, WAIT = 3, SAY = 4, DUMP = 5;

    reg [2:0] mode;
    reg [ADDRESS_BITS-1:0] address;
    reg began;  // whether this step has begun
    reg beginning, stepping;  // which program runs

    assign clearing = mode == CLEAR;
    assign clear_address = address;
    assign in_ready = mode == IDLE && !dump_start;
    assign take = in_valid && in_ready && !in_step;
    assign start_dump = mode == IDLE && dump_start;
    assign start = mode == RUN && !stop;
    assign out_step = mode == SAY;
    assign end_of_step = out_step && out_ready;

    always @(posedge clk) begin
        address <= address + 1'b1;
        case (mode)
            CLEAR: if (address == WORDS - 1) mode <= IDLE;
            IDLE:
                if (dump_start) mode <= DUMP;
                else if (in_valid && (in_step || counts)) begin
                    mode <= RUN;
                    stepping <= in_step;
                    beginning <= !began;
                    place <= !began ? AT_BEGIN : in_step ? AT_STEP : AT_EVENT;
                end
            RUN:
                if (!stop) mode <= WAIT;
                else if (beginning) begin
                    began <= 1'b1;
                    beginning <= 1'b0;
                    place <= stepping ? AT_STEP : AT_EVENT;
                end else mode <= stepping ? SAY : IDLE;
            WAIT:
                if (!busy) begin
                    place <= place + 1'b1;
                    mode <= RUN;
                end
            SAY:
                if (out_ready) begin
                    began <= 1'b0;
                    mode <= IDLE;
                end
            DUMP: if (!busy) mode <= IDLE;
            default: mode <= IDLE;
        endcase
        if (rst) begin
            mode <= CLEAR;
            address <= 0;
            began <= 1'b0;
        end
    end
endmodule
