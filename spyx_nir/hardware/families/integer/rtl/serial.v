// The network behind a serial port, by the protocol of c/serial.h. Ticks are clocks in which the network
// worked; `T`, the ticks of nothing, is 0.
`include "sizes.vh"

module serial #(
    parameter DIVIDER = 104  // clocks of a bit
) (
    input clk,
    input rst,
    input rx,
    output tx,
    output working  // in a step or an event
);
    localparam CLASS_BITS = `MODEL_CLASS_BITS;
    localparam [3:0] RESET = 0, CLEAR = 1, IDLE = 2, PLACE = 3, EVENT = 4, STEP = 5, SPIKES = 6,
        DUMP = 7, FIND = 8, LETTER = 9, EVENTS = 10, TICKS = 11, STATES = 12, CLASS = 13;
    // What is asked for, once its letter is sent.
    localparam [2:0] NOTHING = 0, STEPS = 1, VALUES = 2, CLASSIFY = 3, TIME = 4;

    // ------------------------------------------------------------------------------- the serial port
    wire came, byte_valid, byte_ready, send_ready;
    wire [7:0] came_data, command;
    reg [3:0] state;
    reg [2:0] request;
    reg [7:0] letter;  // an answer's first byte; the lower byte of a number that comes
    reg [2:0] number;  // of a byte in a place or in a word
    reg [31:0] ticks;
    uart_receive #(.DIVIDER(DIVIDER)) receive (
        .clk(clk), .rst(rst), .line(rx), .valid(came), .data(came_data)
    );
    uart_buffer buffer (
        .clk(clk), .rst(rst), .in_valid(came), .in_data(came_data),
        .out_valid(byte_valid), .out_ready(byte_ready), .out_data(command)
    );
    assign byte_ready = state == IDLE || state == PLACE;

    // ----------------------------------------------------------------------------------- the network
    reg [`MODEL_CHANNEL_BITS-1:0] channel;
    reg [`MODEL_ROW_BITS-1:0] y;
    reg [`MODEL_COLUMN_BITS-1:0] x;
    reg outside;  // by bits that the network has not; it sees for itself whether the others are inside
    wire [15:0] half = {command, letter};
    reg [1:0] kind;
    reg asked, dumping;
    wire in_ready, out_valid, out_step, dump_valid, dump_last, counting;
    wire [`MODEL_EVENT_BITS-1:0] events;
    wire [CLASS_BITS-1:0] out_class, best;
    wire [31:0] dump_data;
    wire in_valid = (state == EVENT && !outside) || state == STEP;
    wire sends = state == LETTER || state == EVENTS || state == TICKS
        || (state == STATES && dump_valid) || (state == CLASS && !counting);
    wire word_sent = sends && send_ready && number[1:0] == 3;
    wire spike = state == SPIKES && !counting && out_valid && !out_step;
    network network (
        .clk(clk), .rst(state == RESET),
        .in_valid(in_valid), .in_ready(in_ready), .in_step(state == STEP),
        .in_channel(channel), .in_y(y), .in_x(x),
        .out_valid(out_valid), .out_ready(spike || (state == EVENTS && word_sent)),
        .out_step(out_step),
        .out_class(out_class), .out_events(events),
        .dump_start(state == DUMP && dumping), .dump_kind(kind), .dump_valid(dump_valid),
        .dump_ready(word_sent), .dump_data(dump_data), .dump_last(dump_last)
    );
    assign working = in_valid || (!in_ready && !dumping && state != CLEAR && state != EVENTS);

    classes #(.CLASSES(`MODEL_CLASSES), .BITS(CLASS_BITS)) classes (
        .clk(clk), .rst(rst), .clear(state == RESET), .add(spike),
        .find(state == FIND), .of_class(out_class), .busy(counting), .best(best)
    );

    // ------------------------------------------------------------------------------------- the answers
    reg [31:0] word;
    always @* begin
        case (state)
            EVENTS: word = events;
            TICKS: word = ticks;
            STATES: word = dump_data;
            default: word = request == TIME ? 0 : best;
        endcase
    end
    uart_send #(.DIVIDER(DIVIDER)) send (
        .clk(clk), .rst(rst), .valid(sends), .ready(send_ready),
        .data(state == LETTER ? letter : word[number[1:0]*8 +: 8]), .line(tx)
    );

    always @(posedge clk) begin
        if (working) ticks <= ticks + 1'b1;
        if (sends && send_ready) number <= number + 1'b1;
        case (state)
            RESET: state <= CLEAR;
            CLEAR:
                if (in_ready && !counting) begin
                    ticks <= 0;
                    dumping <= 1'b0;
                    state <= asked ? LETTER : IDLE;
                end
            IDLE: begin
                if (in_ready) dumping <= 1'b0;
                number <= 0;
                outside <= 1'b0;
                asked <= 1'b1;
                request <= NOTHING;
                letter <= command;
                if (byte_valid) begin
                    state <= LETTER;
                    case (command)
                        "R": state <= RESET;
                        "E": state <= PLACE;
                        "S": request <= STEPS;
                        "V": request <= VALUES;
                        "C": request <= CLASSIFY;
                        "T": request <= TIME;
                        default: letter <= "?";
                    endcase
                end
            end
            PLACE:
                if (byte_valid) begin
                    number <= number + 1'b1;
                    letter <= command;
                    case (number)
                        1: begin
                            channel <= half;
                            outside <= half >> `MODEL_CHANNEL_BITS != 0;
                        end
                        3: begin
                            y <= half;
                            outside <= outside || half >> `MODEL_ROW_BITS != 0;
                        end
                        5: begin
                            x <= half;
                            outside <= outside || half >> `MODEL_COLUMN_BITS != 0;
                            state <= EVENT;
                        end
                    endcase
                end
            EVENT: if (in_ready || outside) state <= IDLE;
            STEP: if (in_ready) state <= SPIKES;
            SPIKES: if (out_valid && out_step) state <= EVENTS;
            DUMP:  // the network may be at an event yet
                if (dumping) state <= STATES;
                else dumping <= in_ready;
            FIND: if (!counting) state <= CLASS;
            LETTER: begin
                number <= 0;
                kind <= `MODEL_CURRENTS > 0 ? 2'd1 : 2'd2;
                if (send_ready)
                    case (request)
                        STEPS: state <= STEP;
                        VALUES: state <= DUMP;
                        CLASSIFY: state <= FIND;
                        TIME: state <= CLASS;
                        default: state <= IDLE;
                    endcase
            end
            EVENTS: if (word_sent) state <= TICKS;
            TICKS:
                if (word_sent) begin
                    ticks <= 0;
                    kind <= 0;
                    state <= DUMP;
                end
            STATES:
                if (word_sent && dump_last) begin
                    dumping <= kind != 1;  // until the network is ready again
                    kind <= 2;
                    state <= kind == 1 ? DUMP : IDLE;
                end
            CLASS: if (word_sent) state <= IDLE;
            default: state <= RESET;
        endcase
        if (rst) begin
            state <= RESET;
            asked <= 1'b0;
        end
    end
endmodule
